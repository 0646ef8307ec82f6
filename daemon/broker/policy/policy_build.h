/* A policy in the making: what the files that read its parts share. Private to policy_parse.c,
 * term_parse.c, entry_parse.c and policy_overlap.c. Everything read here has passed the published
 * schema: types are right, keys are known. */
#pragma once

#include "daemon/broker/config/json_position.h"
#include "daemon/broker/policy/policy.h"

struct policy_build {
	struct policy *policy;
	const char **files;    /* for each grant: what complaints call its file */
	char *room, *room_end; /* what is left of the policy's storage */
	const char *const *sets;
	size_t sets_count;
	struct complaints *complaints;
	struct complaints *notes;
};

/* A copy of LENGTH bytes of TEXT with an end, in the policy's storage, which has room for it: what
 * is copied was longer in its file. */
const char *build_string(struct policy_build *build, const char *text, size_t length);

/* Fills the terms of GRANT from its `match` at PLACE, and complains of those that can never hold.
 * Returns 0 or -ENOMEM. */
int terms_parse(struct policy_build *build, struct json_place place, struct policy_grant *grant);

/* Fills the entries of GRANT from its `secrets` at PLACE. Returns 0 or -ENOMEM. */
int entries_parse(struct policy_build *build, struct json_place place, struct policy_grant *grant);

/* Writes the path of ENTRY's file (of its previous version: PATH.previous) to BUFFER. */
void entry_file_path(
	const struct policy_entry *entry, bool previous, char buffer[MAYFLY_FILE_PATH_SIZE]);

/* Complains of every file that two grants, or one twice, can give to one container, and of a file
 * where another grant has a directory. Returns 0 or -ENOMEM. */
int overlap_check(struct policy_build *build);
