/* Naive control: a child that has stopped answering is waited for. */
#include "proto/supervisor_protocol.h"

#undef HEARTBEAT_DEADLINE_MS
#define HEARTBEAT_DEADLINE_MS 3600000
#include "daemon/supervisor/mayflyd_main.c"
