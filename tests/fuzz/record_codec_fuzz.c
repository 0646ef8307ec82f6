/* Sealed records: bytes that were not sealed never open; what was sealed opens where it belongs and
 * nowhere else. The last byte cuts the rest into the fields of what it is bound to, and a plain
 * text. */
#include "daemon/broker/store/record_codec.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static const unsigned char key[KEY_BYTES] = "no secret, a key for fuzzing ...";

/* Two different cuts of the same bytes must not be bound to the same data. */
static void bind_to(struct bound *bound, const uint8_t *bytes, size_t length, size_t cut)
{
	bound_begin(bound, "fuzz");
	bound_bytes(bound, bytes, cut);
	bound_bytes(bound, bytes + cut, length - cut);
	bound_number(bound, length);
}

static void seal_and_open(
	const struct bound *bound, const struct bound *other, const uint8_t *plain, size_t length)
{
	unsigned char *sealed = malloc(length + SEAL_OVERHEAD), *opened = malloc(length + 1);

	assert(sealed && opened);
	record_seal(key, bound, plain, length, sealed);
	assert(record_open(key, bound, sealed, length + SEAL_OVERHEAD, opened) == 0);
	assert(length == 0 || memcmp(opened, plain, length) == 0);
	assert(record_open(key, other, sealed, length + SEAL_OVERHEAD, opened) == -EBADMSG);
	sealed[length] ^= 1;
	assert(record_open(key, bound, sealed, length + SEAL_OVERHEAD, opened) == -EBADMSG);
	free(sealed);
	free(opened);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t length = size;
	const size_t fields = length > 200 ? 200 : length;
	const size_t cut = fields > 0 ? fuzz_byte(bytes, &length) % fields : 0;
	struct bound bound, other;
	unsigned char *plain = malloc(size + 1);

	if (fields < 2) {
		free(plain);
		return 0;
	}
	bind_to(&bound, bytes, fields - 1, cut);
	bind_to(&other, bytes, fields - 1, cut > 0 ? cut - 1 : 1);
	assert(bound.length != other.length || memcmp(bound.bytes, other.bytes, bound.length) != 0);
	assert(record_open(key, &bound, bytes, size, plain) == -EBADMSG);
	seal_and_open(&bound, &other, bytes, size);
	assert(padded_length(size) >= size);
	free(plain);
	return 0;
}
