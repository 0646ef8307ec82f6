/* Naive control, with unlimited_shares.c and unlimited_messages.c: descriptors may come along, and parameters
 * that nobody asks for. */
#include "daemon/broker/listen/container_connection.h"

static int serve_without_limit(uv_loop_t *loop, int fd, const struct varlink_limits *limits,
	const struct varlink_handler *handler, struct varlink_server **ret_server,
	struct mayfly_error *err)
{
	struct varlink_limits most = *limits;

	most.descriptors = FD_PASSING_MAX;
	most.message_bytes = (size_t)1 << 30;
	return varlink_server_new(loop, fd, &most, handler, ret_server, err);
}

#define varlink_server_new			      serve_without_limit
#define container_parameter_wrong(method, parameters) NULL
#include "daemon/broker/listen/container_socket.c"
