/* With the product's own cost of a passphrase: every other program links a lower one. */
#include "store_fixture.h"

#include "unit_test.h"

#include <errno.h>

START_TEST(a_passphrase_costs_three_passes_over_256_mib)
{
	AUTO_SECRET passphrase = { 0 }, wrong = { 0 };
	struct fixture f;
	sqlite3 *file;

	fixture_begin_store(&f);
	passphrase = secret_of_text(&f, "correct horse battery staple");
	wrong = secret_of_text(&f, "correct horse battery stapler");
	MUST(store_slot_add(f.store, SLOT_PASSPHRASE, &passphrase, NULL, NULL, err));
	fixture_close(&f);
	file = file_open(&f);
	ck_assert_int_eq(file_number(file, "SELECT passes FROM slot WHERE kind = 2"), 3);
	ck_assert_int_eq(
		file_number(file, "SELECT memory_kib FROM slot WHERE kind = 2"), 256 * 1024);
	sqlite3_close(file);
	fixture_open(&f);
	ck_assert_int_eq(store_unlock(f.store, SLOT_PASSPHRASE, &wrong, NULL), -EKEYREJECTED);
	MUST(store_unlock(f.store, SLOT_PASSPHRASE, &passphrase, err));
	secret_done(&passphrase);
	secret_done(&wrong);
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_passphrase_costs_three_passes_over_256_mib);
}

int main(void)
{
	return unit_test_run("store_cost", add);
}
