#include "daemon/broker/policy/policy_build.h"

#include "daemon/broker/policy/template.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREVIOUS_SUFFIX ".previous"

void entry_file_path(
	const struct policy_entry *entry, bool previous, char buffer[MAYFLY_FILE_PATH_SIZE])
{
	(void)snprintf(buffer, MAYFLY_FILE_PATH_SIZE, "%s%s", entry->path,
		previous ? PREVIOUS_SUFFIX : "");
}

static bool read_id(struct json_place entry, const char *key, uint32_t *ret_id)
{
	json_t *value = json_object_get(entry.value, key);

	if (!value)
		return false;
	*ret_id = (uint32_t)json_integer_value(value);
	return true;
}

static void read_owner(struct json_place place, struct policy_entry *entry)
{
	const char *mode = json_place_text(place, "mode");

	entry->has_uid = read_id(place, "uid", &entry->uid);
	entry->has_gid = read_id(place, "gid", &entry->gid);
	entry->has_mode = mode != NULL;
	entry->mode = mode ? (mode_t)strtoul(mode, NULL, 8) : 0400;
}

static void read_versions(struct json_place place, struct policy_entry *entry)
{
	json_t *versions = json_object_get(place.value, "versions");
	json_t *version;
	size_t i;

	entry->current = !versions;
	json_array_foreach (versions, i, version) {
		if (strcmp(json_string_value(version), "current") == 0)
			entry->current = true;
		else
			entry->previous = true;
	}
}

/* ---- Templates. ---- */

static void add_part(struct policy_build *build, struct json_place place,
	struct policy_entry *entry, const struct template_piece *piece)
{
	const char *text = build_string(build, piece->text, piece->length);
	struct template_part *part = &entry->parts[entry->parts_count++];
	struct mayfly_error err;

	if (!piece->is_secret) {
		part->literal = text;
		return;
	}
	part->secret = text;
	part->filter = piece->filter;
	if (secret_selector_check(text, &err) < 0)
		complaint_at(build->complaints, place, NULL, "in the template: %s", err.text);
}

static size_t pieces_count(const char *text)
{
	struct template_piece piece;
	const char *at = text, *nearest;
	size_t count = 0;

	while (template_next(text, &at, &piece, &nearest, NULL) > 0)
		count++;
	return count;
}

static int read_template(
	struct policy_build *build, struct json_place place, struct policy_entry *entry)
{
	const char *text = json_string_value(place.value);
	const char *at = text, *nearest;
	struct template_piece piece;
	struct mayfly_error err;
	bool any_secret = false;
	int r;

	entry->parts = calloc(pieces_count(text) + 1, sizeof *entry->parts);
	if (!entry->parts)
		return -ENOMEM;
	while ((r = template_next(text, &at, &piece, &nearest, &err)) > 0) {
		add_part(build, place, entry, &piece);
		any_secret |= piece.is_secret;
	}
	if (r < 0)
		complaint_at(build->complaints, place, nearest, "%s", err.text);
	else if (!any_secret)
		complaint_at(build->complaints, place, NULL,
			"the template names no secret: write {{NAME}} where a value goes");
	return 0;
}

/* ---- Entries. ---- */

/* A slip that is a valid name all the same: SET/NAME where NAME belongs. */
static void note_set_in_name(struct policy_build *build, struct json_place place,
	const struct policy_grant *grant, const char *name)
{
	const char *slash = strchr(name, '/');

	for (size_t i = 0; slash && i < build->sets_count; i++) {
		const char *set = build->sets[i];

		if (strlen(set) == (size_t)(slash - name) && strncmp(set, name, strlen(set)) == 0)
			complaint_at(build->notes, place, NULL,
				"grant %s: '%s' begins with the name of a set and is looked for "
				"inside the grant's set; if it means '%s', write \"set\": \"%s\"",
				grant->name, name, slash + 1, set);
	}
}

static void check_lengths(struct policy_build *build, struct json_place place,
	const struct policy_grant *grant, const struct policy_entry *entry)
{
	if (entry->name && grant->set &&
		strlen(grant->set) + 1 + strlen(entry->name) > MAYFLY_REFERENCE_MAX)
		complaint_at(build->complaints, place, NULL,
			"set and name together are longer than the limit of %d bytes",
			MAYFLY_REFERENCE_MAX);
	if (entry->previous &&
		strlen(entry->path) + strlen(PREVIOUS_SUFFIX) >= MAYFLY_FILE_PATH_SIZE)
		complaint_at(build->complaints, place, NULL,
			"the path and '" PREVIOUS_SUFFIX
			"' together are longer than the limit of %d bytes",
			MAYFLY_FILE_PATH_SIZE - 1);
}

/* What reads a file once must be seen: by the guard, at every open. */
static void read_once(struct policy_build *build, struct json_place place,
	struct policy_grant *grant, struct policy_entry *entry)
{
	entry->once = json_place_text(place, "read") != NULL;
	if (!entry->once)
		return;
	if (grant->guard != GUARD_ALWAYS)
		complaint_at(build->complaints, place, NULL,
			"grant %s: `read`: `once` needs `guard`: `always`", grant->name);
	if (grant->release == RELEASE_AFTER_START || grant->release == RELEASE_MOUNT)
		complaint_at(build->complaints, place, NULL,
			"grant %s: `read`: `once` needs the guard: `release` may only be `guard`",
			grant->name);
	/* Where no guard is, such a grant is refused. */
	grant->release = RELEASE_GUARD;
}

/* "db#password@3" becomes the file db/password. */
static const char *path_of_name(struct policy_build *build, const char *name)
{
	char path[MAYFLY_FILE_PATH_SIZE] = "", *hash;

	(void)snprintf(path, sizeof path, "%.*s", (int)strcspn(name, "@"), name);
	hash = strchr(path, '#');
	if (hash)
		*hash = '/';
	return build_string(build, path, strlen(path));
}

static int read_entry(struct policy_build *build, struct json_place place,
	struct policy_grant *grant, struct policy_entry *entry)
{
	const char *name = json_place_text(place, "name");
	const char *path = json_place_text(place, "as");
	struct json_place template;
	int r = 0;

	entry->line = json_place_line(place);
	read_owner(place, entry);
	read_versions(place, entry);
	read_once(build, place, grant, entry);
	if (name) {
		entry->name = build_string(build, name, strlen(name));
		note_set_in_name(build, place, grant, entry->name);
	}
	entry->path = path   ? build_string(build, path, strlen(path))
		      : name ? path_of_name(build, name)
			     : NULL;
	if (json_place_member(place, "template", &template))
		r = read_template(build, template, entry);
	check_lengths(build, place, grant, entry);
	return r;
}

int entries_parse(struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	struct json_walk walk = json_walk_start(place);
	struct json_place item;
	size_t files = 0;

	grant->entries = calloc(json_array_size(place.value) + 1, sizeof *grant->entries);
	if (!grant->entries)
		return -ENOMEM;
	while (json_walk_next(&walk, &item)) {
		struct policy_entry *entry = &grant->entries[grant->entries_count++];
		const int r = read_entry(build, item, grant, entry);

		if (r < 0)
			return r;
		files += (size_t)entry->current + entry->previous;
	}
	if (files > MAYFLY_DELIVERY_MAX_FILES)
		complaint_at(build->complaints, place, NULL,
			"grant %s gives %zu files, at most %d fit in a delivery", grant->name,
			files, MAYFLY_DELIVERY_MAX_FILES);
	return 0;
}
