/* Naive control, with unlimited_shares.c and unlimited_messages.c: descriptors may come along. */
#include "daemon/broker/wire/varlink_server.h"

static int serve_without_limit(uv_loop_t *loop, int fd, const struct varlink_limits *limits,
	const struct varlink_handler *handler, struct varlink_server **ret_server,
	struct mayfly_error *err)
{
	struct varlink_limits most = *limits;

	most.descriptors = FD_PASSING_MAX;
	return varlink_server_new(loop, fd, &most, handler, ret_server, err);
}

#define varlink_server_new serve_without_limit
#include "daemon/broker/listen/container_socket.c"
