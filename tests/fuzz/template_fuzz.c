/* Templates: read piece by piece, then rendered with values of every kind. The text ends at the
 * first NUL; what is behind it is the value. */
#include "daemon/broker/policy/template.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define PARTS_MAX 32

static const struct secret *lookup(void *context, const char *name)
{
	return name[0] == 'x' ? NULL : context;
}

static int render(const struct policy_entry *entry, struct secret *value)
{
	struct mayfly_error err;
	struct secret rendered = { 0 };
	const int r = template_render(entry, lookup, value, value->arena, &rendered, &err);

	assert(r == 0 || r == -ENOENT || r == -EILSEQ || r == -EFBIG || r == -ENOMEM);
	assert(r < 0 || rendered.length <= MAYFLY_VALUE_MAX_BYTES);
	secret_done(&rendered);
	return r;
}

/* Reads all pieces of TEXT; together they must be the text. Returns how many parts there are. */
static size_t read_parts(const char *text, struct template_part *parts)
{
	struct template_piece piece = { 0 };
	const char *at = text, *nearest = NULL, *before = text;
	struct mayfly_error err;
	size_t count = 0;

	while (template_next(text, &at, &piece, &nearest, &err) > 0) {
		char *copy = fuzz_text((const uint8_t *)piece.text, piece.length);

		assert(at > before && piece.text >= before && piece.text + piece.length <= at);
		before = at;
		if (count < PARTS_MAX)
			parts[count++] = (struct template_part){
				.literal = piece.is_secret ? NULL : copy,
				.secret = piece.is_secret ? copy : NULL,
				.filter = piece.is_secret ? piece.filter : TEMPLATE_PLAIN,
			};
		else
			free(copy);
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct arena *arena;
	struct template_part parts[PARTS_MAX] = { 0 };
	struct policy_entry entry = { .parts = parts };
	char *text = fuzz_text(bytes, size);
	const size_t length = strlen(text);
	struct secret value = { 0 };
	struct mayfly_error err;

	if (!arena)
		assert(arena_new((size_t)8 << 20, &arena, &err) == 0);
	assert(secret_new(arena, length < size ? size - length - 1 : 0, &value, &err) == 0);
	if (value.length > 0)
		memcpy(value.bytes, bytes + length + 1, value.length);
	entry.parts_count = read_parts(text, parts);
	(void)render(&entry, &value);
	for (size_t i = 0; i < entry.parts_count; i++) {
		free((char *)(uintptr_t)parts[i].literal);
		free((char *)(uintptr_t)parts[i].secret);
	}
	value.arena = arena;
	secret_done(&value);
	free(text);
	return 0;
}
