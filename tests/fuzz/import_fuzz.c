/* Files that are imported: .env and JSON. What is found lies in the values, and no message repeats
 * them. */
#include "client/cli/import/entries.h"
#include "tests/fuzz/fuzz.h"

static void check(struct arena *arena, const char *text, size_t size,
	int (*parse)(const char *, size_t, struct entries *, struct mayfly_error *))
{
	struct mayfly_error err = { 0 };
	struct entries entries;

	assert(entries_init(arena, &entries, &err) == 0);
	if (parse(text, size, &entries, &err) < 0)
		assert(err.text[0]);
	for (size_t i = 0; i < entries.count; i++) {
		const struct entry *entry = &entries.items[i];

		assert(entry->offset + entry->length <= entries.used);
		assert(entries_find(&entries, entry->name, strlen(entry->name)) == entry);
	}
	for (const char *c = err.text; *c; c++)
		assert((*c >= ' ' && *c <= '~') || *c == '\n');
	entries_done(&entries);
	assert(arena_used_bytes(arena) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct arena *arena;
	struct mayfly_error err;
	char *text;

	if (!arena)
		assert(arena_new((size_t)8 << 20, &arena, &err) == 0);
	if (size > 65536)
		return 0;
	text = fuzz_copy(bytes, size);
	check(arena, text, size, env_file_parse);
	check(arena, text, size, json_values_parse);
	free(text);
	return 0;
}
