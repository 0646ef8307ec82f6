#include "client/cli/insight/audit_time.h"

#include "client/cli/cli.h"
#include "proto/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LONGEST_S (UINT32_C(100) * 366 * 86400)

static void write_time(time_t time, char ret_time[AUDIT_TIME_SIZE])
{
	struct tm parts;

	(void)gmtime_r(&time, &parts);
	(void)strftime(ret_time, AUDIT_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* A day, or a day and a time with "Z" behind it; a fraction of a second is fine. */
static bool read_moment(const char *text, char ret_time[AUDIT_TIME_SIZE])
{
	static const char form[] = "0000-00-00T00:00:00";
	const size_t length = strlen(text);
	struct tm parts = { 0 };
	const char *end = strptime(text, "%Y-%m-%d", &parts);

	/* strptime() takes "2025-1-31" too, which would be compared wrongly. */
	for (size_t i = 0; i < length && i < sizeof form - 1; i++)
		if ((form[i] == '0') != (text[i] >= '0' && text[i] <= '9'))
			return false;
	if (end && *end == '\0' && length == 10)
		return snprintf(ret_time, AUDIT_TIME_SIZE, "%sT00:00:00Z", text) > 0;
	end = end ? strptime(end, "T%H:%M:%S", &parts) : NULL;
	if (!end || end != text + sizeof form - 1 || length >= AUDIT_TIME_SIZE)
		return false;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	return strcmp(end, "Z") == 0 && snprintf(ret_time, AUDIT_TIME_SIZE, "%s", text) > 0;
}

int audit_time_read(const char *option, const char *text, time_t now,
	char ret_time[AUDIT_TIME_SIZE], struct mayfly_error *err)
{
	uint32_t ago_s = 0;
	char shown[40];

	if (duration_parse(text, LONGEST_S, &ago_s)) {
		write_time(now - (time_t)ago_s, ret_time);
		return 0;
	}
	if (read_moment(text, ret_time))
		return 0;
	return error_set(err, CLI_ERROR_USAGE,
		"--%s: '%s' is no time\nwrite 2025-01-31T12:00:00Z, 2025-01-31, or how long ago: "
		"90s, 15m, 8h, 30d",
		option, error_quote(shown, sizeof shown, text, strlen(text)));
}
