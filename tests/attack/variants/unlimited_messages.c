/* Naive control, with unlimited_shares.c and unlimited_descriptors.c: a message may be as long as it likes, and take its time. */
#include "proto/varlink.h"

#include <errno.h>
#include <string.h>

static ssize_t length_without_limit(const char *bytes, size_t length)
{
	const char *end = memchr(bytes, '\0', length);

	return end ? end - bytes : -EAGAIN;
}

#define varlink_message_length length_without_limit
#include "daemon/broker/wire/varlink_server.c"
