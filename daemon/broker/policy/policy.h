/* Grants: which containers get which secrets, in which posture, as which files.
 *
 * Glossary
 *   grant     one rule of a policy file
 *   term      one key of its `match`; all must hold
 *   require   the posture that a matching container must have
 *   entry     one secret or template of a grant; one or two files (current, previous)
 *   plan      the files that one container gets in one volume, by all grants that match
 *
 * A policy is immutable once loaded and counted; a plan keeps its policy alive.
 * policy_match.h and posture.h decide: pure functions of their arguments. Only policy_load() reads
 * files. */
#pragma once

#include "daemon/broker/config/complaint.h"
#include "daemon/broker/identity/container_facts.h"
#include "daemon/broker/policy/trail.h"
#include "include/mayfly/limits.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum match_key {
	MATCH_INVALID = 0,
	MATCH_CONTAINER_NAME,
	MATCH_CONTAINER_LABEL, /* label holds X of `container.label.X` */
	MATCH_COMPOSE_PROJECT, /* label com.docker.compose.project */
	MATCH_COMPOSE_SERVICE, /* label com.docker.compose.service */
	MATCH_COMPOSE_ONEOFF,  /* label com.docker.compose.oneoff: "True" or "False" */
	MATCH_SWARM_SERVICE,   /* label com.docker.swarm.service.name */
	MATCH_IMAGE_DIGEST,
	MATCH_IMAGE_NAME,
	MATCH_VOLUME_NAME,
};

struct policy_term {
	enum match_key key;
	const char *label; /* the label's key for every key that is a label, else NULL */
	const char *value; /* without the final '*' of a prefix */
	bool is_prefix;
	bool wanted; /* MATCH_COMPOSE_ONEOFF only */
};

/* Default-on refusals say "allow" or "refuse" in the file; the others true or a value. */
struct policy_require {
	bool allow_privileged, allow_host_namespaces, allow_engine_socket, allow_sys_admin;
	bool non_root, read_only_root, capabilities_dropped, no_new_privileges, pids_limit,
		memory_limit;
	const char *image_digest; /* "sha256:...", or NULL */
};

enum template_filter { TEMPLATE_PLAIN = 0, TEMPLATE_URL, TEMPLATE_JSON, TEMPLATE_BASE64 };

/* A literal text, or the value of a secret through a filter. */
struct template_part {
	const char *literal; /* NULL for a value */
	const char *secret;  /* NULL for a literal */
	enum template_filter filter;
};

struct policy_entry {
	const char *name; /* of the secret, without set; NULL for a template */
	struct template_part *parts;
	size_t parts_count;
	const char *path; /* `as`, default the whole name */
	bool has_uid, has_gid, has_mode;
	uint32_t uid, gid; /* inside the container */
	mode_t mode;
	bool current, previous; /* `versions`; a `previous` file is PATH.previous */
	bool once;		/* `read`: emptied at the close of its first open */
	unsigned line;
};

enum grant_guard { GUARD_UNTIL_START = 0, GUARD_ALWAYS };
enum grant_layout { LAYOUT_ATOMIC = 0, LAYOUT_PLAIN };
/* The least that the grant accepts where the kernel has no permission events. */
enum grant_release { RELEASE_DEFAULT = 0, RELEASE_GUARD, RELEASE_AFTER_START, RELEASE_MOUNT };

/* What the application is told when its files have changed. */
enum grant_telling {
	TELLING_UNSAID = 0, /* nothing, and whoever rotates hears of it */
	TELLING_NONE,	    /* nothing: it notices by itself */
	TELLING_SIGNAL,
	TELLING_RESTART,
};

/* How long a container has what a grant gives. */
struct grant_lease {
	uint32_t ttl_s;		/* the policy is asked again that often */
	uint32_t max_ttl_s;	/* the hard end, counted from the release; 0: none */
	bool empties_unrenewed; /* what could not be renewed in time is emptied */
};

#define GRANT_TTL_DEFAULT_S 3600

struct policy_grant {
	const char *name;
	const char *file; /* base name of the policy file */
	unsigned line;
	const char *set; /* NULL: the host's environment */
	struct policy_term *terms;
	size_t terms_count;
	struct policy_require require;
	struct policy_entry *entries;
	size_t entries_count;
	enum grant_guard guard;
	enum grant_layout layout;
	enum grant_release release;
	struct grant_lease lease;
	enum grant_telling telling;
	int signal;		  /* TELLING_SIGNAL */
	const char *process;	  /* whose name is this gets it; NULL: the container's init */
	uint32_t health_window_s; /* rollback_if_unhealthy_within; 0: none */
	const char *target;	  /* without a leading "/"; for the container socket */
	json_t *source;		  /* the grant as it stands in the file, for `policy show` */
};

struct policy {
	struct policy_grant *grants;
	size_t grants_count;
	/* private: what the strings live in, and the count of references */
	void *storage;
	unsigned references;
};

/* A policy file's name (for complaints) and text. */
struct policy_text {
	const char *file;
	const char *text;
	size_t length;
};

/* Parses and checks COUNT files as one policy: schema, unknown keys, values, duplicate names,
 * impossible matches, two grants that can give one container the same file. SETS are the known
 * sets' names. NOTES gets what is right but worth knowing (grants that rest on strings that engine
 * users choose). Returns 0 and a policy with one reference; -EINVAL with COMPLAINTS filled;
 * -ENOMEM. Does no I/O. */
int policy_parse(const struct policy_text *files, size_t count, const char *const *sets,
	size_t sets_count, struct policy **ret_policy, struct complaints *complaints,
	struct complaints *notes);

/* Reads every .json file in ROOT/etc/mayfly/policy.d, in the order of their names, and parses them.
 * No directory: an empty policy. Blocks on file reads. Returns as policy_parse(), or a negative
 * errno of a read.
 */
int policy_load(const char *root, const char *const *sets, size_t sets_count,
	struct policy **ret_policy, struct complaints *complaints, struct complaints *notes,
	struct mayfly_error *err);

/* Not thread-safe: the loop's thread only. */
struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy); /* NULL is fine */

/* One chosen file of `driver_opts: { files: "..." }`. What it says of the owner counts where the
 * entry says nothing; it must equal the entry's uid and gid, and may only narrow the entry's mode.
 */
struct file_choice {
	char path[MAYFLY_FILE_PATH_SIZE];     /* as the grant calls it */
	char new_path[MAYFLY_FILE_PATH_SIZE]; /* as this volume calls it */
	bool has_uid, has_gid, has_mode;
	uint32_t uid, gid;
	mode_t mode;
};

/* What a volume's definition says. They narrow and rename, they never widen. */
struct volume_options {
	char grant[256]; /* "": every grant that matches */
	struct file_choice *files;
	size_t files_count; /* 0: every file */
};

/* OPTIONS: the object of `driver_opts` (NULL or null is empty). Known: `grant`, `files`.
 * `files` is a list "PATH[=NEWPATH][:uid=N][:gid=N][:mode=0NNN]", separated by commas.
 * Returns 0; -EINVAL with the known options, or what is wrong, in ERR. */
int volume_options_parse(
	json_t *options, struct volume_options *ret_options, struct mayfly_error *err);
/* Returns 0 or -ENOMEM; the copy is the caller's. */
int volume_options_copy(const struct volume_options *options, struct volume_options *ret_copy);
void volume_options_done(struct volume_options *options);

struct plan;

/* Who asks, and where. Everything is borrowed. */
struct policy_question {
	const struct container_facts *facts;
	const char *volume;		      /* "": the container asks itself, without a volume */
	const struct volume_options *options; /* NULL: none */
	const char *environment; /* NULL: not chosen; then grants without `set` are refused */
	int cgroup_version;	 /* of the engine; all but 1 are judged as 2, the strict one */
};

/* Decides which files QUESTION's container gets in its volume and stores them in *RET_PLAN, which
 * the caller owns until plan_done(). Every step goes to TRAIL. Does no I/O.
 * Returns 0; -EPERM with the reason in ERR, in the words of experience.md section 7 (without
 * "mayfly: "); -ENOMEM. */
int policy_decide(struct policy *policy, const struct policy_question *question,
	struct trail *trail, struct plan *ret_plan, struct mayfly_error *err);
