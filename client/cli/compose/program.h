/* Runs another program and collects what it prints. It inherits the environment and the standard
 * input's null device, no other descriptor. */
#pragma once

#include "proto/error.h"

#include <stddef.h>

struct program_output {
	char *text; /* standard output, ends in a NUL */
	size_t length;
	char *complaint; /* standard error, ends in a NUL */
	size_t complaint_length;
	int status; /* exit status; 128 + N for signal N */
};

void program_output_done(struct program_output *output);

/* Runs ARGV (found in PATH) and waits for its end, at most a minute; what takes longer is killed.
 * Output beyond 8 MiB is -EFBIG. Blocks. Returns 0 whatever the exit status is; -ENOENT when there
 * is no such program; another negative errno. */
int program_run(
	const char *const *argv, struct program_output *ret_output, struct mayfly_error *err);
