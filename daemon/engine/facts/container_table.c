#include "daemon/engine/facts/container_table.h"

#include "daemon/engine/facts/container_state.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A directory's time stamp moves in ticks of the kernel's clock: a change in the same tick as the
 * scan leaves no trace in it. */
#define TICK_NS 100000000

static int64_t now_ns(clockid_t clock)
{
	struct timespec time;

	(void)clock_gettime(clock, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void drop_facts(struct container_table *table, struct container_entry *entry)
{
	if (!entry->record.facts)
		return;
	table->facts_bytes -= entry->record.config_mark.size;
	json_decref(entry->record.facts);
	json_decref(entry->record.bind_sources);
	json_decref(entry->record.local_volumes);
	entry->record.facts = entry->record.bind_sources = entry->record.local_volumes = NULL;
}

static void entry_empty(struct container_table *table, struct container_entry *entry)
{
	drop_facts(table, entry);
	container_record_done(&entry->record);
	free(entry->unreadable);
	entry->unreadable = NULL;
	entry->is_absent = entry->is_read = false;
}

static void entry_free(struct container_table *table, struct container_entry *entry)
{
	entry_empty(table, entry);
	free(entry->root_path);
	free(entry);
}

static int compare_entries(const void *a, const void *b)
{
	const struct container_entry *const *left = a, *const *right = b;

	return strcmp((*left)->id, (*right)->id);
}

static struct container_entry *find_among(
	const struct container_table *table, size_t count, const char *id)
{
	size_t low = 0, high = count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = strcmp(table->entries[middle]->id, id);

		if (order == 0)
			return table->entries[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct container_entry *container_table_find(const struct container_table *table, const char *id)
{
	return find_among(table, table->count, id);
}

/* Behind the others, not in its place. */
static struct container_entry *append(struct container_table *table, const char *id)
{
	struct container_entry **entries =
		reallocarray(table->entries, table->count + 1, sizeof *entries);
	struct container_entry *entry;

	if (!entries)
		return NULL;
	table->entries = entries;
	entry = calloc(1, sizeof *entry);
	if (!entry)
		return NULL;
	memcpy(entry->id, id, sizeof entry->id);
	entry->seen_s = time(NULL);
	entries[table->count++] = entry;
	table->generation++;
	return entry;
}

static void sort(struct container_table *table)
{
	if (table->count > 0)
		qsort(table->entries, table->count, sizeof *table->entries, compare_entries);
}

/* Entries that the last scan did not see. */
static void drop_unseen(struct container_table *table)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i]->scan == table->scans)
			table->entries[kept++] = table->entries[i];
		else
			entry_free(table, table->entries[i]);
	}
	table->generation += table->count - kept;
	table->count = kept;
}

static int see(struct container_table *table, size_t sorted, const char *id, enum scan_kind kind)
{
	struct container_entry *entry = find_among(table, sorted, id);

	if (!entry) {
		entry = append(table, id);
		if (!entry)
			return -ENOMEM;
	}
	if (kind == SCAN_PRESUMING && !entry->is_announced) {
		entry->is_presumable = true;
		entry->seen_s = time(NULL);
	}
	entry->scan = table->scans;
	return 0;
}

static int list(struct container_table *table, DIR *directory, enum scan_kind kind)
{
	const size_t sorted = table->count;
	struct dirent *item;
	int r = 0;

	table->scans++;
	while (r == 0 && (item = readdir(directory)))
		if (container_id_is_valid(item->d_name))
			r = see(table, sorted, item->d_name, kind);
	if (r == 0)
		drop_unseen(table);
	sort(table);
	return r;
}

int container_table_scan(
	struct container_table *table, enum scan_kind kind, struct mayfly_error *err)
{
	char path[ENGINE_PATH_SIZE + 16];
	AUTO_FD fd = -1;
	struct file_mark mark;
	DIR *directory;
	int64_t started_ns;
	int r;

	(void)snprintf(path, sizeof path, "%s/containers", table->place->data_root);
	started_ns = now_ns(CLOCK_REALTIME);
	r = root_mark(table->place->root, path, &mark);
	if (r < 0)
		return error_errno(err, r, "look at '%s'", path);
	if (kind == SCAN_IF_CHANGED && table->directory_is_quiet &&
		file_mark_equal(&mark, &table->directory_mark))
		return 0;
	fd = root_open_directory(table->place->root, path);
	if (fd < 0)
		return error_errno(err, fd, "open '%s'", path);
	directory = fdopendir(fd);
	if (!directory)
		return error_errno(err, -errno, "list '%s'", path);
	(void)fd_take(&fd); /* closed by closedir() */
	r = list(table, directory, kind);
	(void)closedir(directory); /* nothing was written */
	if (r < 0)
		return error_errno(err, r, "list '%s'", path);
	table->directory_mark = mark;
	table->directory_is_quiet = started_ns - mark.modified_ns > TICK_NS;
	return 0;
}

/* Makes room for the facts of KEPT, which may be NULL. */
static void shed_facts(struct container_table *table, const struct container_entry *kept)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i] != kept)
			drop_facts(table, table->entries[i]);
}

static int entry_read(struct container_table *table, struct container_entry *entry, bool with_facts)
{
	struct mayfly_error error;
	int r;

	entry_empty(table, entry);
	r = container_files_read(table->place, entry->id, &entry->record, &error);
	entry->is_read = true;
	entry->is_absent = r == -ENOENT;
	if (r < 0) {
		/* Out of memory for the reason: the code alone still says that it is unusable. */
		entry->unreadable = r == -ENOENT ? NULL : strdup(error.text);
		return r;
	}
	table->facts_bytes += entry->record.config_mark.size;
	if (!entry->record.uses_plugin && !with_facts)
		drop_facts(table, entry);
	else if (table->facts_bytes > TABLE_FACTS_MAX_BYTES)
		shed_facts(table, entry);
	return 0;
}

int container_entry_refresh(
	struct container_table *table, struct container_entry *entry, bool with_facts)
{
	if (!entry->is_read || !container_files_unchanged(table->place, entry->id, &entry->record))
		return entry_read(table, entry, with_facts);
	if (entry->is_absent)
		return -ENOENT;
	if (entry->unreadable || !entry->record.name)
		return -EBADMSG;
	if (with_facts && !entry->record.facts)
		return entry_read(table, entry, true);
	return 0;
}

void container_table_trim(struct container_table *table)
{
	if (table->facts_bytes <= TABLE_FACTS_MAX_BYTES)
		return;
	shed_facts(table, NULL);
	/* A file of some megabytes was ten times as much in pieces. */
	(void)malloc_trim(0); /* says whether there was anything */
}

/* The engine writes UTC. Far in the future when it cannot be told. */
static int64_t created_s(const struct container_record *record)
{
	struct tm time = { 0 };
	const char *end =
		record->created ? strptime(record->created, "%Y-%m-%dT%H:%M:%S", &time) : NULL;

	if (!end || record->created[strlen(record->created) - 1] != 'Z')
		return INT64_MAX / 2;
	return timegm(&time);
}

bool container_entry_is_announced(struct container_entry *entry, int64_t now_s)
{
	const int64_t created = created_s(&entry->record);

	if (entry->record.has_been_started || created + ANNOUNCED_AFTER_S <= now_s)
		entry->is_announced = true;
	/* One whose files cannot be used tells no time: found among the old ones, it is one. */
	if (entry->is_presumable &&
		(entry->unreadable || created + PRESUMED_AFTER_S <= entry->seen_s))
		entry->is_announced = true;
	return entry->is_announced;
}

static void settle(struct container_table *table, struct container_entry *entry)
{
	if (container_entry_refresh(table, entry, false) == 0)
		entry->is_settled = container_entry_is_announced(entry, time(NULL));
}

bool container_table_load(struct container_table *table, size_t *cursor, int64_t until_ns)
{
	for (; *cursor < table->count; ++*cursor) {
		struct container_entry *entry = table->entries[*cursor];

		if (entry->is_settled)
			continue;
		if (now_ns(CLOCK_MONOTONIC) >= until_ns)
			return false;
		settle(table, entry);
	}
	return true;
}

struct container_entry *container_table_announce(struct container_table *table, const char *id)
{
	struct container_entry *entry = container_table_find(table, id);

	if (!entry) {
		entry = append(table, id);
		if (!entry)
			return NULL;
		entry->scan = table->scans;
		sort(table);
	}
	entry->is_announced = true;
	settle(table, entry);
	return entry;
}

void container_table_forget(struct container_table *table, const char *id)
{
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->entries[i]->id, id) != 0)
			continue;
		entry_free(table, table->entries[i]);
		table->count--;
		table->generation++;
		memmove(table->entries + i, table->entries + i + 1,
			(table->count - i) * sizeof *table->entries);
		return;
	}
}

bool container_entry_uses_volume(const struct container_entry *entry, const char *volume)
{
	json_t *item;
	size_t i;

	json_array_foreach (entry->record.volumes, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name && strcmp(name, volume) == 0)
			return true;
	}
	return false;
}

/* The engine's usual one for a container whose files do not tell. */
static const char *storage_driver_of(
	const struct container_table *table, const struct container_entry *entry)
{
	if (entry->record.storage_driver)
		return entry->record.storage_driver;
	return table->place->storage_driver[0] ? table->place->storage_driver : "overlay2";
}

int container_entry_open_root(const struct container_table *table, struct container_entry *entry)
{
	char path[ENGINE_PATH_SIZE + 256];
	int r;

	if (!entry->root_path) {
		r = container_root_path(table->place, entry->id, storage_driver_of(table, entry),
			path, sizeof path);
		if (r < 0)
			return r == -ENOENT ? -ENODATA : r;
		entry->root_path = strdup(path);
		if (!entry->root_path)
			return -ENOMEM;
	}
	return container_root_open(table->place, entry->root_path);
}

/* The engine takes a name, a whole id or the beginning of one. */
static bool names(const char *reference, const struct container_entry *entry)
{
	const char *name = entry->record.name;

	if (reference[0] == '/')
		reference++;
	return (name && strcmp(reference, name) == 0) ||
	       (reference[0] != '\0' && strncmp(entry->id, reference, strlen(reference)) == 0);
}

bool container_table_is_joined(
	const struct container_table *table, const struct container_entry *entry)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct container_entry *other = table->entries[i];

		if (other != entry && other->record.pid_joined &&
			names(other->record.pid_joined, entry))
			return true;
	}
	return false;
}

struct container_entry *container_table_joined_by(
	const struct container_table *table, const struct container_entry *entry)
{
	for (size_t i = 0; i < table->count && entry->record.pid_joined; i++)
		if (table->entries[i] != entry &&
			names(entry->record.pid_joined, table->entries[i]))
			return table->entries[i];
	return NULL;
}

void container_table_done(struct container_table *table)
{
	const struct engine_place *place = table->place;

	for (size_t i = 0; i < table->count; i++)
		entry_free(table, table->entries[i]);
	free(table->entries);
	*table = (struct container_table){ .place = place };
}
