/* An environment with secrets in it, for execve(). */
#pragma once

#include "client/lib/locked_memory.h"
#include "include/mayfly/value.h"

/* NAME=SECRET of the command line; both point into argv or behind it. */
struct env_wish {
	const char *assignment; /* "NAME=SECRET" */
	size_t name_length;
	const char *file; /* SECRET */
};

/* Takes TEXT apart. Returns what is wrong with it, or NULL. */
const char *env_wish_parse(const char *text, struct env_wish *ret_wish);

/* One "NAME=value", in memory of its own. */
struct env_entry {
	struct locked_memory memory;
};

void env_entry_done(struct env_entry *entry);

/* Makes the entry for WISH with VALUE. MAYFLY_NOT_READABLE for a value that an environment cannot
 * hold: one with a NUL, or that the kernel would not take. */
enum mayfly_status env_entry_make(const struct env_wish *wish, const struct mayfly_value *value,
	struct env_entry *ret_entry, struct mayfly_failure *failure);

/* ENVIRON without the names of WISHES, and the COUNT ENTRIES behind it, as an array that the caller
 * frees (the strings are borrowed). NULL when memory is short. */
char **environment_make(char **environment, const struct env_wish *wishes,
	const struct env_entry *entries, size_t count);
