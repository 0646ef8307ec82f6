/* Where the container socket is. */
#pragma once

#include "include/mayfly/status.h"

/* A copy, which the caller frees, of SOCKET_PATH or of what stands for NULL: see mayfly_open(). */
enum mayfly_status socket_path_settle(
	const char *socket_path, char **ret_path, struct mayfly_failure *failure);
