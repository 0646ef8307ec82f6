/* Records of a broker that somebody has taken over: what the mounter lets through must be safe to
 * join below a directory, and within the limits. */
#include "daemon/mounter/mounter_ops.h"
#include "tests/fuzz/fuzz.h"

#define GROUPS 25

/* The same rule in other words than the mounter's own. */
static void check_name(const char *name)
{
	const size_t length = strlen(name);

	assert(name[0] != '/' && !strstr(name, "//"));
	assert(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	assert(strncmp(name, "./", 2) != 0 && strncmp(name, "../", 3) != 0);
	assert(!strstr(name, "/./") && !strstr(name, "/../"));
	assert(length < 2 || strcmp(name + length - 2, "/.") != 0);
	assert(length < 3 || strcmp(name + length - 3, "/..") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct mounter_request request = { 0 };
	const size_t prefix = offsetof(struct mounter_request, name);

	/* A short input is a name; one byte in front of it is the operation. */
	if (size < sizeof request) {
		size_t length = size < 1 ? 0 : size - 1;

		request.op = size < 1 ? 0 : bytes[0];
		request.size_bytes = 1;
		if (length > sizeof request.name)
			length = sizeof request.name;
		if (length > 0)
			memcpy((char *)&request + prefix, bytes + 1, length);
	} else {
		memcpy(&request, bytes, sizeof request);
	}
	if (!mounter_request_is_sane(&request, GROUPS))
		return 0;
	assert(request.op > MOUNTER_OP_INVALID && request.op < MOUNTER_OP_COUNT);
	assert(memchr(request.name, '\0', sizeof request.name));
	check_name(request.name);
	assert(request.op != MOUNTER_OP_MARK || request.group < GROUPS);
	assert(request.op != MOUNTER_OP_FILE ||
		(request.name[0] && (request.mode & ~0777u) == 0 && request.size_bytes > 0));
	return 0;
}
