/* One grant as JSON: made from words, joined with one that is there, shown, reduced.
 * Pure functions of JSON; only grant_print() prints. */
#pragma once

#include "client/cli/policy/file_spec.h"
#include "client/cli/terminal/text.h"

#include <jansson.h>

/* The entry of `secrets` for SPEC. */
json_t *grant_entry(const struct file_spec *spec);

/* Puts every entry of WISH's `secrets` and every key of its `require` into GRANT, which has the
 * same `match` and `set`. An entry for the same file of the same secret takes the wish's owner and
 * mode.
 * Returns how many entries and keys are new or changed; -EEXIST with ERR when `match` or `set`
 * differ, or when the file is another secret's. */
int grant_join(json_t *grant, json_t *wish, struct mayfly_error *err);

/* Removes the entries of secret NAME. Returns how many they were. */
int grant_remove_secret(json_t *grant, const char *name);

/* The names of the secrets that GRANT gives, templates' included: array of text, each once. */
json_t *grant_secret_names(json_t *grant);

/* Prints GRANT for people. ENVIRONMENT is the host's, "" if it is not known. */
void grant_print(json_t *grant, const char *environment);

/* What KEY of `require` is called with VALUE: "true" and no value are true, "false" is false,
 * everything else is text. */
json_t *require_value(const char *value);

/* Adds to WARNINGS what a container that runs as USER ("1000", "1000:100", "app", "") could not
 * read of GRANT's files, or that nobody can tell. */
void grant_warn_owner(json_t *grant, const char *user, struct text_list *warnings);
