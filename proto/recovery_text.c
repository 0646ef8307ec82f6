#include "proto/recovery_text.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#define GROUPS	       13
#define GROUP_SYMBOLS  4 /* of the key; the check character follows */
#define GROUP_LENGTH   (GROUP_SYMBOLS + 1)
#define SYMBOLS	       (GROUPS * GROUP_SYMBOLS)
#define CHARACTERS     (GROUPS * GROUP_LENGTH)
#define BITS_OF_SYMBOL 5

static_assert(SYMBOLS * BITS_OF_SYMBOL - RECOVERY_KEY_BYTES * 8 == 4, "four bits are left over");

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* In the field of 32 elements, modulo x^5 + x^2 + 1. */
static unsigned times_x(unsigned element)
{
	element <<= 1;
	return element & 32 ? element ^ 37 : element;
}

/* Weights x, x^2, x^3, x^4 differ from each other and from the check character's 1: one wrong
 * character and two exchanged neighbours always change the sum. The place is in it too. */
static unsigned check_of(const unsigned char *symbols, unsigned group)
{
	unsigned sum = 0;

	for (size_t i = GROUP_SYMBOLS; i-- > 0;)
		sum = times_x(sum ^ symbols[i]);
	return sum ^ (group + 1);
}

/* The symbol at INDEX of a key, five bits, the first ones first. Bits behind the end are 0. */
static unsigned char symbol_of(const unsigned char *key, size_t index)
{
	const size_t bit = index * BITS_OF_SYMBOL;
	const unsigned first = key[bit / 8];
	const unsigned second = bit / 8 + 1 < RECOVERY_KEY_BYTES ? key[bit / 8 + 1] : 0;

	return (unsigned char)(((first << 8 | second) >> (16 - BITS_OF_SYMBOL - bit % 8)) & 31);
}

int recovery_text_write(const struct secret *key, struct secret *ret_text, struct mayfly_error *err)
{
	AUTO_SECRET text = { 0 };
	AUTO_SECRET symbols = { 0 };
	unsigned char *end;
	int r;

	assert(key->length == RECOVERY_KEY_BYTES);
	r = secret_new(key->arena, CHARACTERS + GROUPS - 1, &text, err);
	if (r < 0)
		return r;
	r = secret_new(key->arena, GROUP_SYMBOLS, &symbols, err);
	if (r < 0)
		return r;
	end = text.bytes;
	for (unsigned group = 0; group < GROUPS; group++) {
		if (group > 0)
			*end++ = '-';
		for (size_t i = 0; i < GROUP_SYMBOLS; i++) {
			symbols.bytes[i] = symbol_of(key->bytes, group * GROUP_SYMBOLS + i);
			*end++ = (unsigned char)alphabet[symbols.bytes[i]];
		}
		*end++ = (unsigned char)alphabet[check_of(symbols.bytes, group)];
	}
	*ret_text = secret_take(&text);
	return 0;
}

static bool is_separator(unsigned char c)
{
	return c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* -1 for a character that stands for nothing. */
static int symbol_read(unsigned char c)
{
	const char *found;

	if (c >= 'a' && c <= 'z')
		c = (unsigned char)(c - 'a' + 'A');
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	found = c ? strchr(alphabet, c) : NULL;
	return found ? (int)(found - alphabet) : -1;
}

/* Turns TEXT into at most CHARACTERS symbols; *RET_COUNT says how many there were. */
static int read_symbols(const struct secret *text, unsigned char *symbols, size_t *ret_count,
	struct mayfly_error *err)
{
	size_t count = 0;

	for (size_t i = 0; i < text->length; i++) {
		int symbol;

		if (is_separator(text->bytes[i]))
			continue;
		symbol = symbol_read(text->bytes[i]);
		if (symbol < 0)
			return error_set(err, -EINVAL,
				"group %zu of the recovery key has a character that none has",
				count / GROUP_LENGTH + 1);
		if (count < CHARACTERS)
			symbols[count] = (unsigned char)symbol;
		count++;
	}
	*ret_count = count;
	return 0;
}

/* The first group that does not fit, from 1; 0 when all do. */
static unsigned first_wrong_group(const unsigned char *symbols, size_t count)
{
	for (unsigned group = 0; group < GROUPS; group++) {
		const unsigned char *start = symbols + (size_t)group * GROUP_LENGTH;

		if (((size_t)group + 1) * GROUP_LENGTH > count)
			return group + 1;
		if (check_of(start, group) != start[GROUP_SYMBOLS])
			return group + 1;
	}
	/* What is left over of the last symbol is 0, so that a key has one text only. */
	return symbols[CHARACTERS - 2] & 15 ? GROUPS : 0;
}

static void pack(const unsigned char *symbols, unsigned char *key)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t done = 0;

	for (size_t i = 0; i < CHARACTERS && done < RECOVERY_KEY_BYTES; i++) {
		if (i % GROUP_LENGTH == GROUP_SYMBOLS)
			continue;
		bits = bits << BITS_OF_SYMBOL | symbols[i];
		have += BITS_OF_SYMBOL;
		if (have >= 8) {
			have -= 8;
			key[done++] = (unsigned char)(bits >> have);
		}
	}
}

int recovery_text_read(const struct secret *text, struct secret *ret_key, struct mayfly_error *err)
{
	AUTO_SECRET symbols = { 0 };
	AUTO_SECRET key = { 0 };
	size_t count = 0;
	unsigned wrong;
	int r;

	if (text->length == 0)
		return error_set(err, -EINVAL, "the recovery key is empty");
	r = secret_new(text->arena, CHARACTERS, &symbols, err);
	if (r < 0)
		return r;
	r = secret_new(text->arena, RECOVERY_KEY_BYTES, &key, err);
	if (r < 0)
		return r;
	r = read_symbols(text, symbols.bytes, &count, err);
	if (r < 0)
		return r;
	wrong = first_wrong_group(symbols.bytes, count);
	if (count != CHARACTERS)
		return error_set(err, -EINVAL,
			"a recovery key has %d characters, this one %zu; look at group %u first",
			CHARACTERS, count, wrong ? wrong : GROUPS);
	if (wrong)
		return error_set(err, -EINVAL, "group %u of the recovery key is mistyped", wrong);
	pack(symbols.bytes, key.bytes);
	*ret_key = secret_take(&key);
	return 0;
}
