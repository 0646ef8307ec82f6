#include "client/cli/insight/audit_time.h"

#include "client/cli/cli.h"
#include "unit_test.h"

#include <string.h>

/* 2026-01-02T03:04:05Z */
#define NOW 1767323045

static const struct {
	const char *reads_as;
	const char *text;
	const char *time; /* NULL: refused */
} rows[] = {
	{ "a moment", "2025-01-31T12:00:00Z", "2025-01-31T12:00:00Z" },
	{ "a moment with a fraction", "2025-01-31T12:00:00.25Z", "2025-01-31T12:00:00.25Z" },
	{ "a day", "2025-01-31", "2025-01-31T00:00:00Z" },
	{ "seconds ago", "65s", "2026-01-02T03:03:00Z" },
	{ "minutes ago", "4m", "2026-01-02T03:00:05Z" },
	{ "hours ago", "4h", "2026-01-01T23:04:05Z" },
	{ "days ago", "30d", "2025-12-03T03:04:05Z" },
	{ "no time ago", "0s", "2026-01-02T03:04:05Z" },
	{ "nothing", "", NULL },
	{ "a word", "yesterday", NULL },
	{ "a month that is none", "2025-13-01", NULL },
	{ "a day of one digit", "2025-1-31", NULL },
	{ "a moment of one digit", "2025-01-31T1:00:00Z", NULL },
	{ "a moment without a zone", "2025-01-31T12:00:00", NULL },
	{ "a moment of another zone", "2025-01-31T12:00:00+01:00", NULL },
	{ "a blank for the T", "2025-01-31 12:00:00Z", NULL },
	{ "an hour that is none", "2025-01-31T25:00:00Z", NULL },
	{ "text behind it", "2025-01-31x", NULL },
	{ "text behind a moment", "2025-01-31T12:00:00Zx", NULL },
	{ "a fraction without end", "2025-01-31T12:00:00.00000000000000000000000000Z", NULL },
	{ "a number without a unit", "15", NULL },
	{ "an unknown unit", "15y", NULL },
	{ "a unit without a number", "m", NULL },
	{ "a number before time began", "9999999999d", NULL },
	{ "a negative number", "-5m", NULL },
};

START_TEST(is_read)
{
	struct mayfly_error err = { 0 };
	char time[AUDIT_TIME_SIZE] = "";
	const int r = audit_time_read("since", rows[_i].text, NOW, time, &err);

	if (rows[_i].time) {
		ck_assert_msg(r == 0, "%s: %s", rows[_i].reads_as, err.text);
		ck_assert_str_eq(time, rows[_i].time);
	} else {
		ck_assert_msg(r == CLI_ERROR_USAGE, "%s: taken as %s", rows[_i].reads_as, time);
		ck_assert_ptr_nonnull(strstr(err.text, "--since"));
	}
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, is_read, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	return unit_test_run("audit_time", add);
}
