/* What an engine tells, and what it means for leases: the front between identity/engine_link.h and
 * lease/. */
#pragma once

#include "daemon/broker/request/broker.h"

/* Makes the link of engine number INDEX, without a mayfly-engine yet. */
int engine_events_open(struct broker *broker, unsigned index, struct mayfly_error *err);

/* A mayfly-engine's end for it, which is taken over. */
int engine_events_connect(struct broker *broker, unsigned index, int fd, struct mayfly_error *err);
