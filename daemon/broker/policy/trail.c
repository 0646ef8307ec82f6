#include "daemon/broker/policy/trail.h"

#include <stdarg.h>
#include <stdio.h>

static const char *outcome_name(enum step_outcome outcome)
{
	switch (outcome) {
	case STEP_PASSED:
		return "passed";
	case STEP_NOTED:
		return "noted";
	case STEP_FAILED:
	case STEP_INVALID:
		break;
	}
	return "failed";
}

void trail_add(
	struct trail *trail, enum step_outcome outcome, const char *step, const char *format, ...)
{
	char evidence[1024];
	va_list arguments;

	if (!trail)
		return;
	va_start(arguments, format);
	(void)vsnprintf(evidence, sizeof evidence, format, arguments);
	va_end(arguments);
	if (!trail->steps)
		trail->steps = json_array();
	/* A step that is lost for lack of memory costs an explanation, never a decision. */
	(void)json_array_append_new(
		trail->steps, json_pack("{s:s, s:s, s:s}", "step", step, "outcome",
				      outcome_name(outcome), "evidence", evidence));
}

void trail_done(struct trail *trail)
{
	json_decref(trail->steps);
	trail->steps = NULL;
}
