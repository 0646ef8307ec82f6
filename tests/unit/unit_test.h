/* The frame of a unit test program: one suite, TAP on standard output, so that meson sees every
 * case. */
#pragma once

#include <check.h>
#include <stdlib.h>

/* Runs the cases that ADD puts into one TCase called NAME. Returns main()'s exit status. */
static inline int unit_test_run(const char *name, void (*add)(TCase *cases))
{
	Suite *suite = suite_create(name);
	TCase *cases = tcase_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(cases, 60);
	add(cases);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
