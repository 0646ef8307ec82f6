/* Names that people and programs type: references, paths of files, recovery keys, volume options.
 */
#include "daemon/broker/policy/policy.h"
#include "proto/recovery_text.h"
#include "proto/secret_name.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static void check_reference(const char *text)
{
	struct secret_reference reference;
	struct mayfly_error err = { 0 };
	char again[2 * MAYFLY_REFERENCE_MAX];

	if (secret_reference_parse(text, &reference, &err) < 0) {
		assert(err.text[0]);
		for (const char *c = err.text; *c; c++)
			assert(*c >= ' ' && *c <= '~');
		return;
	}
	(void)snprintf(again, sizeof again, "%s/%s", reference.set, reference.name);
	assert(strcmp(text, again) == 0 && strlen(text) <= MAYFLY_REFERENCE_MAX);
	assert(!strstr(text, "/.") && !strstr(text, "//") && text[0] != '/' && text[0] != '.');
}

/* A key that is read is written in one way, which reads as the same key. */
static void check_recovery(struct arena *arena, const uint8_t *bytes, size_t size)
{
	struct secret text = { 0 }, key = { 0 }, written = { 0 }, again = { 0 };
	struct mayfly_error err;

	assert(secret_new(arena, size, &text, &err) == 0);
	if (size > 0)
		memcpy(text.bytes, bytes, size);
	if (recovery_text_read(&text, &key, &err) == 0) {
		assert(key.length == RECOVERY_KEY_BYTES);
		assert(recovery_text_write(&key, &written, &err) == 0);
		assert(recovery_text_read(&written, &again, &err) == 0);
		assert(secret_equal(&key, &again));
	}
	secret_done(&text);
	secret_done(&key);
	secret_done(&written);
	secret_done(&again);
}

static void check_options(const char *text)
{
	json_t *options = json_pack("{s:s?}", "files", text);
	struct volume_options parsed = { 0 };
	struct mayfly_error err;

	if (options && volume_options_parse(options, &parsed, &err) == 0)
		for (size_t i = 0; i < parsed.files_count; i++) {
			assert(file_path_check(parsed.files[i].path, &err) == 0);
			assert(file_path_check(parsed.files[i].new_path, &err) == 0);
		}
	volume_options_done(&parsed);
	json_decref(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char *const words[] = { "prod/db-password", "dev", "environment" };
	static struct arena *arena;
	struct mayfly_error err;
	char *text;

	if (!arena)
		assert(arena_new((size_t)4 << 20, &arena, &err) == 0);
	if (size > 4096)
		return 0;
	text = fuzz_text(bytes, size);
	check_reference(text);
	check_options(text);
	(void)set_name_check(text, &err);
	(void)nearest_word(text, words, 3);
	check_recovery(arena, bytes, size);
	free(text);
	return 0;
}
