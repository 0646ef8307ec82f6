/* The command line of Compose as a person wrote it, and the files that it means. */
#pragma once

#include "client/cli/terminal/text.h"
#include "proto/error.h"

struct invocation {
	struct text_list files;	  /* in order; paths as Compose takes them */
	struct text_list project; /* options that both calls need: -p, --profile, --env-file, ... */
	struct text_list others;  /* options that only the real call gets */
	const char *const *rest;  /* the command and what follows it; borrowed, ends in a NULL */
	const char *directory;	  /* --project-directory, or NULL; borrowed */
	const char *env_file;	  /* the last --env-file, or NULL; borrowed */
};

/* Takes WORDS (end in a NULL) apart up to Compose's command. The caller owns *RET_INVOCATION.
 * -EINVAL for an option without its argument. */
int invocation_parse(
	const char *const *words, struct invocation *ret_invocation, struct mayfly_error *err);
void invocation_done(struct invocation *invocation);

/* Without -f: fills in the files that Compose would find, by COMPOSE_FILE of the environment, of
 * --env-file or of .env, else compose.yaml and the like here or above. None is no error.
 * -EINVAL for standard input as a file: it cannot be read twice. */
int invocation_find_files(struct invocation *invocation, struct mayfly_error *err);

/* The options of a `config` call for INVOCATION with its files, and OVERRIDE behind them (or NULL).
 */
void invocation_options(
	const struct invocation *invocation, const char *override, struct text_list *ret_options);
