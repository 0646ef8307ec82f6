/* The sockets that others connect to. Held here, so that nobody is refused while a broker is
 * restarted. */
#pragma once

#include "daemon/supervisor/supervisor.h"

/* Binds the operator socket and one plugin socket for each engine, or takes those that the service
 * manager passed (sd_listen_fds(3)) when their address is one of ours. A socket file that nobody
 * serves is replaced; one that somebody serves is an error (-EADDRINUSE). */
int listening_open(struct supervisor *supervisor, struct mayfly_error *err);

/* Removes the socket files: a dead one in the plugin directory costs the engine 15 s at every scan.
 */
void listening_remove(const struct supervisor *supervisor);
