/* The steps of one decision with their evidence: what `mayfly explain` prints, and the only place
 * where that text is made. Never secret bytes; strings of others pass error_quote() first. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>

enum step_outcome { STEP_INVALID = 0, STEP_PASSED, STEP_FAILED, STEP_NOTED };

struct trail {
	json_t *steps; /* array of {step, outcome, evidence}; NULL until the first */
};

/* Adds a step to TRAIL, unless that is NULL. STEP is a word or two ("match", "require", "secret",
 * ...). */
void trail_add(struct trail *trail, enum step_outcome outcome, const char *step, const char *format,
	...) MAYFLY_PRINTF(4, 5);

void trail_done(struct trail *trail);
