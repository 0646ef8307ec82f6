/* Calls on the operator socket, and the replies that the command reads. */
#include "proto/varlink.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static void check_call(const char *text, size_t length)
{
	struct varlink_call call = { 0 }, again = { 0 };
	struct mayfly_error err;
	char *encoded = NULL;
	size_t encoded_length = 0;

	if (varlink_call_parse(text, length, &call, &err) < 0)
		return;
	assert(call.method && json_is_object(call.parameters));
	if (varlink_call_encode(
		    call.method, call.parameters, call.more, &encoded, &encoded_length) == 0) {
		assert(varlink_message_length(encoded, encoded_length) ==
			(ssize_t)encoded_length - 1);
		assert(varlink_call_parse(encoded, encoded_length - 1, &again, &err) == 0);
		assert(json_equal(call.parameters, again.parameters) && call.more == again.more);
		varlink_call_done(&again);
		free(encoded);
	}
	varlink_call_done(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = fuzz_copy(bytes, size);
	const ssize_t length = varlink_message_length(text, size);
	struct varlink_reply reply = { 0 };
	struct mayfly_error err;

	assert(length == -EAGAIN || length == -EMSGSIZE || (length >= 0 && (size_t)length < size));
	check_call(text, length >= 0 ? (size_t)length : size);
	if (varlink_reply_parse(text, length >= 0 ? (size_t)length : size, &reply, &err) == 0)
		assert(json_is_object(reply.parameters));
	varlink_reply_done(&reply);
	free(text);
	return 0;
}
