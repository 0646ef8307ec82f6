#include "daemon/engine/facts/image_digests.h"

#include "proto/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct image_digest {
	char *image;
	char *digest;
};

static int compare(const void *a, const void *b)
{
	const struct image_digest *left = a, *right = b;

	return strcmp(left->image, right->image);
}

void image_digests_done(struct image_digests *digests)
{
	for (size_t i = 0; i < digests->count; i++) {
		free(digests->items[i].image);
		free(digests->items[i].digest);
	}
	free(digests->items);
	*digests = (struct image_digests){ 0 };
}

static void append(struct image_digests *digests, const char *image, const char *digest)
{
	struct image_digest item = { strdup(image), strdup(digest) };
	struct image_digest *items =
		reallocarray(digests->items, digests->count + 1, sizeof *items);

	if (items)
		digests->items = items;
	if (!items || !item.image || !item.digest) {
		free(item.image);
		free(item.digest);
		return;
	}
	digests->items[digests->count++] = item;
}

/* {"repository": {"repository:tag": "sha256:...", "repository@sha256:...": "sha256:..."}} */
static void collect(struct image_digests *digests, json_t *repositories)
{
	const char *repository, *name;
	json_t *names, *image;

	json_object_foreach (repositories, repository, names) {
		json_object_foreach (names, name, image) {
			const char *digest = strchr(name, '@');

			if (digest && json_is_string(image))
				append(digests, json_string_value(image), digest + 1);
		}
	}
}

static void refresh(
	struct image_digests *digests, const struct engine_place *place, const char *driver)
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes file = { 0 };
	char path[ENGINE_PATH_SIZE + 128];
	struct file_mark mark;
	json_t *table;

	if (strlen(driver) > 64 || strchr(driver, '/') || strcmp(driver, "..") == 0)
		return;
	(void)snprintf(
		path, sizeof path, "%s/image/%s/repositories.json", place->data_root, driver);
	if (root_mark(place->root, path, &mark) < 0) {
		image_digests_done(digests);
		return;
	}
	if (file_mark_equal(&mark, &digests->mark))
		return;
	image_digests_done(digests);
	digests->mark = mark;
	if (root_read_file(place->root, path, ROOT_ALL_MOUNTS, ENGINE_FILE_MAX_BYTES, &file, NULL) <
		0)
		return;
	digests->mark = file.mark;
	table = json_loadb(file.bytes, file.length, 0, NULL);
	collect(digests, json_object_get(table, "Repositories"));
	json_decref(table);
	if (digests->count > 0)
		qsort(digests->items, digests->count, sizeof digests->items[0], compare);
}

static size_t first_of(const struct image_digests *digests, const char *image_id)
{
	size_t low = 0, high = digests->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strcmp(digests->items[middle].image, image_id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

json_t *image_digests_of(struct image_digests *digests, const struct engine_place *place,
	const char *driver, const char *image_id, const char *manifest_digest)
{
	json_t *found = json_pack("[s]", image_id);

	if (!found)
		return NULL;
	if (manifest_digest)
		(void)json_array_append_new(found, json_string(manifest_digest));
	refresh(digests, place, driver);
	for (size_t i = first_of(digests, image_id); i < digests->count; i++) {
		if (strcmp(digests->items[i].image, image_id) != 0 ||
			json_array_size(found) >= IMAGE_DIGESTS_MAX)
			break;
		/* A digest that is left out can only make a grant refuse. */
		(void)json_array_append_new(found, json_string(digests->items[i].digest));
	}
	return found;
}
