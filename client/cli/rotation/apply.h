/* --apply: a command of the operator's that tells another system of a new value, and the same command
 * with the values swapped when that is taken back. The values lie in memfds that are locked into
 * memory; the command gets them on descriptors 3 (old) and 4 (new). */
#pragma once

#include "client/cli/cli.h"

#include <stdbool.h>
#include <stddef.h>

struct applied {
	const char *name;  /* SET/NAME, borrowed */
	int before, after; /* memfds */
	void *before_lock, *after_lock;
	size_t before_length, after_length;
	bool is_applied;
};

struct apply {
	const char *command; /* for `sh -c`; NULL: there is none */
	struct applied *items;
	size_t count;
};

/* Fetches both values of each of COUNT prepared NAMES (borrowed). *RET_APPLY is the caller's until
 * apply_done(). */
int apply_fetch(struct cli *cli, const char *command, const char *const *names, size_t count,
	struct apply *ret_apply, struct mayfly_error *err);

/* Runs the command once for each name, with MAYFLY_SECRET=SET/NAME. When it fails for one, it is run
 * with the values swapped for those before, the last one first. Blocks for as long as it runs. */
int apply_forward(struct apply *apply, struct mayfly_error *err);

/* Runs it with the values swapped for every name for which it was run, the last one first; goes on
 * after a failure. Returns 0 or the first failure. */
int apply_back(struct apply *apply, struct mayfly_error *err);

void apply_done(struct apply *apply);
