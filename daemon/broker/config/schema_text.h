/* The published schemas (docs/schema/) as they were when the broker was built. The definitions are
 * made by scripts/embed_schema.py. */
#pragma once

#include <stddef.h>

struct schema_text {
	const char *bytes; /* no end of string behind them */
	size_t length;
};

extern const struct schema_text mayflyd_schema;
extern const struct schema_text policy_schema;
