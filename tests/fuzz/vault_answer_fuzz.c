/* Answers of a server that may be anybody's: JSON where it lies, and everything that is taken out. */
#include "daemon/broker/vault/vault_answer.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

/* jansson accepts what we do; we are stricter about depth and keys that stand there twice. */
static void compare(
	const struct json_slice *document, bool is_accepted, const char *text, size_t size)
{
	json_t *json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	assert(!is_accepted || document->length <= size);
	/* Numbers that do not fit are jansson's only other complaint. */
	if (is_accepted && !json)
		assert(memchr(text, 'e', size) || memchr(text, 'E', size) || size > 18);
	json_decref(json);
}

static void pick_all(struct json_slice map, struct arena *arena)
{
	static const char *const fields[] = { "", "value", "a", "password" };
	struct mayfly_error err;

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		struct secret value = { 0 };

		if (vault_pick(map, fields[i], "value", arena, &value, &err) == 0)
			assert(value.length > 0 && value.length <= map.length + 1);
		secret_done(&value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const long statuses[] = { 200, 204, 307, 400, 403, 404, 429, 500, 503 };
	static struct arena *arena;
	struct json_slice document = { 0 };
	struct secret body = { 0 };
	struct mayfly_error err;

	if (!arena)
		assert(arena_new((size_t)4 << 20, &arena, &err) == 0);
	if (size > 65536)
		return 0;
	assert(secret_new(arena, size + 1, &body, &err) == 0);
	memcpy(body.bytes, bytes, size);
	compare(&document, json_slice_check((char *)body.bytes, size, &document) == 0,
		(char *)body.bytes, size);
	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		const struct https_answer from = {
			.status = statuses[i], .why = "", .body = &body, .body_length = size
		};
		struct vault_auth_answer auth;
		struct vault_kv_answer kv;
		struct vault_answer answer;
		uint32_t version;

		vault_answer_read(&from, &answer);
		for (const char *c = answer.text; *c; c++)
			assert(*c >= ' ' && *c <= '~');
		(void)vault_answer_auth(&answer, &auth);
		(void)vault_answer_kv_version(&answer);
		(void)vault_answer_current_version(&answer, &version);
		for (unsigned kind = 1; kind <= 2; kind++)
			if (vault_answer_kv(&answer, kind, &kv) && !kv.is_deleted &&
				!kv.is_destroyed)
				pick_all(kv.map, arena);
	}
	secret_done(&body);
	return 0;
}
