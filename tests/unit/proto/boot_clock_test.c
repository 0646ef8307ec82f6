#include "proto/boot_clock.h"

#include "unit_test.h"

static const struct {
	const char *reads_as, *text;
	int64_t ms;
} rows[] = {
	{ "the host's own", "monotonic           0         0\nboottime            0         0\n",
		0 },
	{ "a day ahead", "monotonic           0         0\nboottime        86400         0\n",
		86400000 },
	{ "a day and a half second behind",
		"monotonic      -86400         0\nboottime       -86401 500000000\n", -86400500 },
	{ "of the monotonic clock only", "monotonic           7         0\n", 0 },
	{ "an empty file", "", 0 },
	{ "something else", "boottime soon\n", 0 },
};

START_TEST(an_offset_is_read)
{
	ck_assert_msg(boot_clock_offset(rows[_i].text) == rows[_i].ms, "%s", rows[_i].reads_as);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, an_offset_is_read, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	return unit_test_run("boot_clock", add);
}
