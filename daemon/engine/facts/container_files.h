/* What the engine's own files say about one container: config.v2.json and hostconfig.json in its
 * directory. Its API is not asked: inspect waits for the lock that the engine holds while it waits
 * for us, and a booting engine mounts before its API answers.
 * The engine wrote the files, but its users chose names, labels, images and paths in them: whatever
 * is missing, of the wrong kind or too large makes the whole record unreadable, with the reason. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "daemon/engine/facts/engine_root.h"
#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* As many as the broker takes (PROTOCOL.md, limits). */
#define CONTAINER_VOLUMES_MAX 8
#define CONTAINER_MOUNTS_MAX  256

struct container_record {
	struct file_mark config_mark, host_mark;
	char *name;	      /* without the engine's slash */
	char *storage_driver; /* "overlay2" */
	char *created;	      /* RFC 3339 */
	char *user;	      /* as configured */
	char *userns_mode;
	char *manifest_digest; /* or NULL */
	char *pid_joined; /* the container whose pid namespace it joins, as configured, or NULL */
	bool claims_running;   /* the process may have died since */
	bool has_been_started; /* at least once */
	bool uses_plugin;      /* a volume of our driver */
	pid_t pid;	       /* 0 while not running */
	const char *health;    /* of the run that the files tell of; see container_object.c */
	json_t *volumes;       /* of our driver: [{"name", "target"}], target as configured */
	json_t *facts;	       /* the members of a container object that only the files decide */
	json_t *bind_sources;  /* paths on the host that are mounted into it */
	json_t *local_volumes; /* names of volumes that the engine itself keeps */
};

bool container_id_is_valid(const char *id);

/* Reads container ID at PLACE into *RET_RECORD, which the caller empties with
 * container_record_done(). May block on the disk. Returns 0; -ENOENT when its files are not there
 * (yet); another negative errno when they cannot be used: then the marks in *RET_RECORD are set all
 * the same, so that the same files need not be read again. */
int container_files_read(const struct engine_place *place, const char *id,
	struct container_record *ret_record, struct mayfly_error *err);

/* Are the files those that RECORD was read from? Two stats. */
bool container_files_unchanged(
	const struct engine_place *place, const char *id, const struct container_record *record);

/* Takes the two files' content apart, as container_files_read() does. Does no I/O. */
int container_record_parse(const struct engine_place *place, const struct file_bytes *config,
	const struct file_bytes *host, struct container_record *ret_record,
	struct mayfly_error *err);

void container_record_done(struct container_record *record);
