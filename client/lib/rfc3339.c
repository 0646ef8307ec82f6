#include "client/lib/rfc3339.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* Reads COUNT digits at *AT and moves it behind them. False if there are fewer. */
static bool read_digits(const char **at, int count, int *ret_number)
{
	int number = 0;

	for (; count > 0; count--, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		number = number * 10 + (**at - '0');
	}
	*ret_number = number;
	return true;
}

static bool is_leap_year(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_of_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap_year(year));
}

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t days_since_epoch(int year, int month, int day)
{
	const int64_t before = year - 1;
	int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162;

	for (int m = 1; m < month; m++)
		days += days_of_month(year, m);
	return days + day - 1;
}

bool rfc3339_parse(const char *text, int64_t *ret_unix_s)
{
	static const char between[] = "--T::";
	static const int digits[] = { 4, 2, 2, 2, 2, 2 };
	int part[6];

	for (int i = 0; i < 6; i++) {
		if (!text || !read_digits(&text, digits[i], &part[i]))
			return false;
		if (i < 5 && *text++ != between[i])
			return false;
	}
	if (text[0] == '.' && isdigit((unsigned char)text[1]))
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "Z") != 0 || part[0] < 1 || part[1] < 1 || part[1] > 12 || part[2] < 1 ||
		part[2] > days_of_month(part[0], part[1]) || part[3] > 23 || part[4] > 59 ||
		part[5] > 60)
		return false;
	*ret_unix_s = days_since_epoch(part[0], part[1], part[2]) * 86400 + part[3] * 3600 +
		      part[4] * 60 + part[5];
	return true;
}
