#include "client/cli/import/entries.h"

#include "client/cli/value/value.h"

#include <string.h>

int entries_init(struct arena *arena, struct entries *ret_entries, struct mayfly_error *err)
{
	*ret_entries = (struct entries){ 0 };
	return secret_new(arena, ENTRIES_BYTES_MAX, &ret_entries->values, err);
}

void entry_done(struct entry *entry)
{
	free(entry->name);
	free(entry->path);
	*entry = (struct entry){ 0 };
}

struct entry entry_take(struct entry *entry)
{
	const struct entry taken = *entry;

	*entry = (struct entry){ 0 };
	return taken;
}

void entries_done(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		entry_done(&entries->items[i]);
	free(entries->items);
	secret_done(&entries->values);
	text_list_done(&entries->left_out);
	*entries = (struct entries){ 0 };
}

int entries_put(struct entries *entries, const void *bytes, size_t length, struct mayfly_error *err)
{
	if (length > entries->values.length - entries->used)
		return error_set(err, -E2BIG,
			"the values have more than %zu bytes together\nimport it in parts",
			ENTRIES_BYTES_MAX);
	if (length > 0)
		memcpy(entries->values.bytes + entries->used, bytes, length);
	entries->used += length;
	return 0;
}

struct entry *entries_find(const struct entries *entries, const char *name, size_t length)
{
	for (size_t i = 0; i < entries->count; i++)
		if (strlen(entries->items[i].name) == length &&
			memcmp(entries->items[i].name, name, length) == 0)
			return &entries->items[i];
	return NULL;
}

int entries_add(struct entries *entries, const char *name, size_t name_length, size_t begun,
	unsigned line, struct mayfly_error *err)
{
	struct entry *entry = entries_find(entries, name, name_length);

	if (!entry) {
		void *items =
			reallocarray(entries->items, entries->count + 1, sizeof entries->items[0]);

		if (!items)
			return error_errno(err, -ENOMEM, "keep what was found");
		entries->items = items;
		entry = &entries->items[entries->count++];
		*entry = (struct entry){ .name = text_format("%.*s", (int)name_length, name) };
	}
	entry->offset = begun;
	entry->length = entries->used - begun;
	entry->line = line;
	return 0;
}

int entry_value(struct cli *cli, const struct entries *entries, const struct entry *entry,
	struct secret *ret_value, struct mayfly_error *err)
{
	AUTO_SECRET value = { 0 };
	int r;

	if (entry->path)
		return value_read(cli,
			&(struct value_request){ .from_file = entry->path,
				.max_bytes = MAYFLY_VALUE_MAX_BYTES,
				.what = entry->name },
			ret_value, NULL, err);
	if (entry->length > MAYFLY_VALUE_MAX_BYTES)
		return error_set(err, -EFBIG,
			"the value of %s is longer than the limit of %d bytes", entry->name,
			MAYFLY_VALUE_MAX_BYTES);
	r = secret_new(entries->values.arena, entry->length, &value, err);
	if (r < 0)
		return r;
	memcpy(value.bytes, entries->values.bytes + entry->offset, entry->length);
	*ret_value = secret_take(&value);
	return 0;
}
