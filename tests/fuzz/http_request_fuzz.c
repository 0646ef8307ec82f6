/* The plugin protocol's requests. Bytes come in pieces: what is said about a beginning must hold
 * for the whole. */
#include "daemon/broker/wire/http_request.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static void check_request(const struct http_request *request, const char *buffer, size_t length)
{
	assert(request->length > 0 && request->length <= length);
	assert(request->body >= buffer &&
		request->body + request->body_length == buffer + request->length);
	assert(request->body_length <= HTTP_BODY_MAX_BYTES);
	assert(memchr(request->method, '\0', sizeof request->method) && request->method[0]);
	assert(memchr(request->path, '\0', sizeof request->path) && request->path[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t length = size, cut;
	struct http_request whole = { 0 }, part = { 0 };
	char *buffer, *beginning;
	int r, earlier;

	cut = (size_t)fuzz_byte(bytes, &length) << 8;
	cut |= fuzz_byte(bytes, &length);
	cut = length > 0 ? cut % (length + 1) : 0;
	buffer = fuzz_copy(bytes, length);
	beginning = fuzz_copy(bytes, cut);
	r = http_request_parse(buffer, length, &whole);
	assert(r == 0 || r == -EAGAIN || (r <= -400 && r > -600));
	if (r == 0)
		check_request(&whole, buffer, length);
	earlier = http_request_parse(beginning, cut, &part);
	if (earlier == 0)
		assert(r == 0 && part.length == whole.length);
	else if (earlier != -EAGAIN)
		assert(r == earlier);
	free(buffer);
	free(beginning);
	return 0;
}
