/* The containers that the engine has on its disk, and what is known of each.
 *
 * Words: an entry is *read* once its files were; *settled* once they were read after the engine had
 * announced the container (its mounts and namespaces cannot change any more, only its state);
 * *announced* when the engine has said `create`, or it must have: at a mount that the engine does
 * for `docker create` the container is not announced yet. */
#pragma once

#include "daemon/engine/facts/container_files.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What was created this long before we looked was announced before we looked. */
#define PRESUMED_AFTER_S  10
/* No `docker create` takes this long: the engine itself gives a volume's mount two minutes. */
#define ANNOUNCED_AFTER_S 120

/* Facts are kept for this many bytes of files; beyond, they are read again when asked for. */
#define TABLE_FACTS_MAX_BYTES (64 * 1024)

struct container_entry {
	char id[CONTAINER_ID_LENGTH + 1];
	struct container_record record;
	char *root_path;  /* of its mounted root file system, once known */
	char *unreadable; /* why its files cannot be used, or NULL */
	bool is_read;
	bool is_absent; /* the directory is there, its files are not */
	bool is_settled;
	bool is_announced;
	bool is_presumable;  /* found by a scan that stands for events that nobody saw */
	int64_t seen_s;	     /* when it was found */
	int64_t reported_ns; /* when `running` was said of it, 0: never */
	uint64_t scan;	     /* the last scan that saw it */
};

struct container_table {
	const struct engine_place *place;
	struct container_entry **entries; /* sorted by id */
	size_t count;
	struct file_mark directory_mark;
	bool directory_is_quiet; /* a change since would show in its mark */
	uint64_t scans;
	uint64_t generation; /* counts entries that came and went: positions are valid within one */
	size_t facts_bytes;
};

enum scan_kind {
	SCAN_IF_CHANGED, /* one stat when nothing is new */
	SCAN_PRESUMING,	 /* events may have been missed: what is old enough counts as announced */
};

/* Brings the list of ids up to date; reads no container's files.
 * Returns 0 or a negative errno; the table is then as before. */
int container_table_scan(
	struct container_table *table, enum scan_kind kind, struct mayfly_error *err);

/* Reads entries that are not settled until all are or UNTIL_NS (CLOCK_MONOTONIC) has come. *CURSOR
 * is 0 at first. Returns whether it came to the end. */
bool container_table_load(struct container_table *table, size_t *cursor, int64_t until_ns);

/* NULL when there is none. Pointers are valid until the next scan or forget. */
struct container_entry *container_table_find(const struct container_table *table, const char *id);

/* The engine has said `create`: makes an entry unless there is one, and settles it.
 * Returns NULL when out of memory. */
struct container_entry *container_table_announce(struct container_table *table, const char *id);

void container_table_forget(struct container_table *table, const char *id);

/* Brings ENTRY's record up to date: two stats when nothing has changed. WITH_FACTS: also the parts
 * that are kept for users of our driver only. Returns 0; -ENOENT when its files are not there;
 * another negative errno when they cannot be used (ENTRY->unreadable says why). */
int container_entry_refresh(
	struct container_table *table, struct container_entry *entry, bool with_facts);

/* Drops facts beyond TABLE_FACTS_MAX_BYTES: for the end of a piece of work that needed them. */
void container_table_trim(struct container_table *table);

/* Must the engine have announced it by NOW_S (CLOCK_REALTIME)? False: only the engine can tell. */
bool container_entry_is_announced(struct container_entry *entry, int64_t now_s);

/* Does a volume of our driver with this name belong to it? */
bool container_entry_uses_volume(const struct container_entry *entry, const char *volume);

/* Opens its mounted root file system. Returns a descriptor that the caller owns; -ENODATA when it
 * is not mounted; -ENOTSUP when the storage driver does not let it be told; another negative errno.
 */
int container_entry_open_root(const struct container_table *table, struct container_entry *entry);

/* The container whose pid namespace ENTRY joins, or NULL. */
struct container_entry *container_table_joined_by(
	const struct container_table *table, const struct container_entry *entry);

/* Has any other container joined the pid namespace of ENTRY? All entries must have been loaded. */
bool container_table_is_joined(
	const struct container_table *table, const struct container_entry *entry);

/* Frees all entries; the table can be used again. */
void container_table_done(struct container_table *table);
