/* The pipeline of a mount request: who asks -> may they -> which values -> a lease, armed ->
 * recorded. Fronts translate their protocol into this call and the answer back; they decide
 * nothing. Read request_flow.c from the bottom. */
#pragma once

#include "daemon/broker/request/broker.h"

/* PATH is the host path on success, else NULL and WHY says why, as experience.md section 7 words it
 * (without "mayfly: "). */
typedef void mount_answer_function(void *data, const char *path, const char *why);

/* An engine wants VOLUME (defined with OPTIONS, copied) mounted under MOUNT_ID. Returns 0, and
 * ON_ANSWER is called once, never before this returns, within the deadlines of architecture.md 3.6;
 * or -EINVAL for a mount id that is none, -ENOMEM. */
int mount_request_start(struct broker *broker, unsigned engine, const char *volume,
	const struct volume_options *options, const char *mount_id,
	mount_answer_function *on_answer, void *data, struct mount_request **ret_request,
	struct mayfly_error *err);

/* The engine has gone: what was armed for it is wiped, ON_ANSWER is not called any more. */
void mount_request_abandon(struct mount_request *request);

/* For broker_wake(): each request that waits looks again whether it may go on. */
void mount_requests_wake(struct broker *broker);
