/* What the broker says and what becomes of it: hello, root, and the requests that answers.c
 * answers. A broker that breaks the protocol ends the process: whatever is on the other side is not
 * ours. */
#pragma once

#include "daemon/engine/engine_session.h"

/* Begins a conversation on SOCKET, which is taken over. Returns 0 or a negative errno. */
int broker_requests_open(struct engine_session *session, int socket, struct mayfly_error *err);

/* The conversation has ended, its channel is closed: nothing is owed to anyone. */
void broker_requests_forget(struct engine_session *session);
