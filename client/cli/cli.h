/* One run of `mayfly`: what the command line said, and what the verbs share.
 * Everything here lives from main() to its return; no verb keeps anything behind it. */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#include <errno.h>
#include <stdbool.h>

enum cli_exit {
	CLI_DONE = 0,
	CLI_REFUSED = 1, /* or failed */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3
};

/* Codes of an error that do not mean CLI_REFUSED. */
#define CLI_ERROR_USAGE	      (-EBADRQC)
#define CLI_ERROR_UNREACHABLE (-EHOSTDOWN)

/* Makes ERR, which is set, one of usage; returns its code. */
static inline int cli_usage(struct mayfly_error *err)
{
	err->code = CLI_ERROR_USAGE;
	return CLI_ERROR_USAGE;
}

struct arguments;
struct operator_link;

struct cli {
	const char *root; /* "" is the real root */
	bool json;	  /* replies as JSON instead of words */
	const struct arguments *arguments;
	struct operator_link *link; /* NULL until the first call */
	struct arena *arena;	    /* NULL until the first value */
};

/* A value, a passphrase and their repetition fit; within the RLIMIT_MEMLOCK of an ordinary user. */
#define CLI_ARENA_SIZE_BYTES ((size_t)4 * 1024 * 1024)

/* The arena for this run's values, made at first use. */
int cli_arena(struct cli *cli, struct arena **ret_arena, struct mayfly_error *err);
