/* The broker's start, its run and its end. */
#pragma once

#include "include/mayfly/limits.h"
#include "proto/supervisor_protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the supervisor gave by arguments. */
struct broker_birth {
	const char *root;
	const char *engines[MAYFLY_ENGINES_MAX];
	size_t engines_count;
	uint32_t groups_count;
	/* where it may connect to; none: nowhere */
	uint16_t ports[LAUNCH_PLAN_PORTS_MAX];
	size_t ports_count;
	unsigned denied; /* opens that the broker before had read, and the supervisor has denied */
};

/* Serves until the supervisor asks it to end or has gone. Returns an exit status. */
int broker_run(const struct broker_birth *birth);
