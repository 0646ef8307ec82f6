#include "proto/duration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	default:
		return 0;
	}
}

bool duration_parse(const char *text, uint32_t longest_s, uint32_t *ret_s)
{
	const size_t digits = strspn(text, "0123456789");
	uint64_t unit, count;

	if (digits == 0 || digits > 10)
		return false;
	unit = unit_seconds(text[digits]);
	count = strtoull(text, NULL, 10);
	if (unit == 0 || text[digits + 1] != '\0' || count > longest_s / unit)
		return false;
	*ret_s = (uint32_t)(count * unit);
	return true;
}

void duration_text(char text[DURATION_TEXT_SIZE], uint64_t seconds)
{
	const unsigned long long s = seconds;

	if (s < 120)
		(void)snprintf(text, DURATION_TEXT_SIZE, "%llu s", s);
	else if (s < 7200)
		(void)snprintf(text, DURATION_TEXT_SIZE, "%llu min", s / 60);
	else if (s < 2 * 86400)
		(void)snprintf(
			text, DURATION_TEXT_SIZE, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else
		(void)snprintf(text, DURATION_TEXT_SIZE, "%llu days", s / 86400);
}
