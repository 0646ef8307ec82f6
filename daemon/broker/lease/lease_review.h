/* Armed deliveries whose container is not being started any more: nobody has said so, because this
 * process, or the engine, was dead when it ended. Without it they would stay until their deadline.
 * lease_review.c has what an unmount means, too. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Asks for the container ID of ENGINE's armed leases (NULL: for all), and ends those whose
 * container neither runs nor is being started. For when everything that runs has been told. */
void lease_review_armed(struct lease_context *context, unsigned engine, const char *id);

/* Ends those of container ID, which will never start. */
void lease_end_armed(struct lease_context *context, unsigned engine, const char *id);

/* The answer is not wanted any more. */
void lease_forget_review(struct lease *lease);
