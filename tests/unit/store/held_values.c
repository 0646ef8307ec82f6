#include "held_values.h"

#include "unit_test.h"

/* What the store holds. Some have the same length, so that only their binding tells them apart. */
static const struct {
	const char *reference;
	uint32_t version;
	const char *text;
} holds[] = {
	{ "prod/a", 1, "prod-a-1" },
	{ "prod/a", 2, "prod-a-2" },
	{ "prod/a", 3, "prod-a-3" },
	{ "prod/b", 1, "prod-b-1" },
	{ "prod/b", 2, "prod-b-2" },
	{ "dev/a", 1, "dev-a--1" },
	{ "prod/long", 1,
		"a text that is longer than the smallest class, by some characters more" },
	{ "prod/removed", 1, "is kept" },
};

#define HELD (sizeof holds / sizeof holds[0])

void held_begin(struct fixture *f, struct bytes *ret_file)
{
	const struct secret_reference removed = reference_of("prod/removed");
	uint32_t number;

	fixture_begin_store(f);
	for (size_t i = 0; i < HELD; i++)
		ck_assert_int_eq(put_text(f, holds[i].reference, holds[i].text, true), 0);
	MUST(store_remove(f->store, &removed, false, &number, err));
	fixture_close(f);
	*ret_file = bytes_read(fixture_path(f, "store.db"));
}

void held_end(struct fixture *f, struct bytes *file)
{
	free(file->bytes);
	fixture_end(f);
}

struct held_findings held_examine(struct fixture *f, const char *what)
{
	struct held_findings findings = { 0 };
	struct mayfly_error err_verify = { 0 };
	uint64_t records;
	int r;

	fixture_open(f);
	r = store_unlock(f->store, SLOT_HOST_KEY, &f->host_key, NULL);
	for (size_t i = 0; r == 0 && i < HELD; i++) {
		const int got = get_text(f, holds[i].reference, holds[i].version, holds[i].text);

		ck_assert_msg(got <= 0, "%s: another value of %s", what, holds[i].reference);
		findings.right += got == 0;
	}
	if (r == 0) {
		findings.is_verified = store_verify(f->store, &records, &err_verify) == 0;
		ck_assert(findings.is_verified || err_verify.text[0]);
	}
	fixture_close(f);
	return findings;
}

void held_assert_found(struct fixture *f, const char *what)
{
	const struct held_findings findings = held_examine(f, what);

	ck_assert_msg(!findings.is_verified, "%s is not found", what);
}
