/* What the engine says about one container (PROTOCOL.md, "A container object"), checked and typed.
 * Claims, not proofs: whoever may use the engine chose most of it. The strings point into the JSON
 * object that the struct owns. Does no I/O. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONTAINER_ID_LENGTH   64 /* lower-case hex digits */
#define CONTAINER_TARGETS_MAX 8

struct container_volume {
	const char *name;
	const char *target; /* canonical, without a leading "/" */
};

struct container_facts {
	json_t *object; /* owned; everything else points into it */
	const char *id;
	const char *name;
	const char *image_name;
	const char *image_id;
	json_t *image_digests; /* array of strings */
	json_t *labels;	       /* object of strings */
	struct container_volume volumes[CONTAINER_TARGETS_MAX];
	size_t volumes_count;

	bool running;
	bool announced;
	bool root_mounted;
	pid_t pid;
	const char *started_at; /* or NULL */
	/* "": no check, or not running; "starting", "healthy", or "unhealthy": also while it is
	 * paused and until its next check. The event comes only when a check says so. */
	const char *health;

	const char *user_text;
	const char *user_error; /* NULL: uid and gid are known */
	uint32_t uid, gid;	/* inside the container */
	uint32_t uid_offset, gid_offset, id_count;

	bool privileged;
	bool read_only_root;
	bool no_new_privileges;
	bool engine_socket;
	bool shares_pid_namespace;
	json_t *capabilities_added;   /* array of strings, upper case without CAP_, or "ALL" */
	json_t *capabilities_dropped; /* the same */
	int64_t pids_limit;	      /* 0: none */
	int64_t memory_limit;	      /* bytes, 0: none */
	const char *pid_mode, *ipc_mode, *cgroupns_mode;
};

/* Takes OBJECT (a reference of its own is kept) apart into *RET_FACTS.
 * Returns 0, or -EBADMSG naming the member that is missing or of the wrong kind. */
int container_facts_parse(
	json_t *object, struct container_facts *ret_facts, struct mayfly_error *err);

/* NULL-safe release; leaves the empty value. */
void container_facts_done(struct container_facts *facts);

/* Another reference to the same object. */
struct container_facts container_facts_ref(const struct container_facts *facts);

/* The value of a label, or NULL. */
const char *container_label(const struct container_facts *facts, const char *key);
