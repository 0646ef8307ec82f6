/* A plan: the files that one container gets in one place, by all grants that match. policy_decide()
 * makes it. It keeps its policy alive. */
#pragma once

#include "daemon/broker/policy/policy.h"

struct plan_file {
	char path[MAYFLY_FILE_PATH_SIZE];
	uint32_t uid, gid; /* on the host: the user namespace's offset is added */
	mode_t mode;
	const struct policy_grant *grant;
	const struct policy_entry *entry;
	bool previous;
};

struct plan {
	struct policy *policy; /* a reference */
	struct plan_file *files;
	size_t files_count;
	enum grant_guard
		guard; /* the strictest of its grants, GUARD_ALWAYS for a shared pid namespace */
	enum grant_layout layout;   /* LAYOUT_PLAIN if one grant asks for it */
	enum grant_release release; /* the strictest */
	int64_t expires_unix_s; /* of a lease that is under way: its hard end; 0: it begins now */
};

/* True for the file of the secret NAME (as the grant calls it), or of a template whose file has that
 * name. */
bool plan_file_is_called(const struct plan_file *file, const char *name);

/* Leaves only the files of COUNT secrets NAMES (as the grants call them) and of templates whose
 * file has such a name. Returns 0; -ENOENT with a name that no file is of in *RET_UNKNOWN. */
int plan_narrow(
	struct plan *plan, const char *const *names, size_t count, const char **ret_unknown);

/* True when both give the same files of the same owner from the same entries of the same policy. */
bool plan_equal(const struct plan *a, const struct plan *b);
void plan_done(struct plan *plan);

/* The names of PLAN's grants, each once; the caller's. */
json_t *plan_grant_names(const struct plan *plan);
