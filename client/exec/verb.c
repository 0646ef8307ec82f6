#include "client/exec/verb.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Standard output or standard error without control characters, those of C1 in UTF-8 included. */
static void put_clean(FILE *stream, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		const bool is_c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;

		if (is_c1)
			c++;
		(void)fputc(is_c1 || *c < 0x20 || *c == 0x7f ? '?' : *c, stream);
	}
}

void print_text(const char *text)
{
	put_clean(stdout, text);
}

int usage_error(const char *verb, const char *format, ...)
{
	va_list arguments;
	char text[512];

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	(void)fprintf(stderr, "mayfly: %s: ", verb);
	put_clean(stderr, text);
	(void)fprintf(stderr, "\n`%s --help` explains\n", verb);
	return EXEC_USAGE;
}

int usage_unknown_option(const char *verb, char **argv)
{
	/* getopt_long() has moved on behind the option that it does not know. */
	return usage_error(verb, "'%s' is no option, or misses what it needs", argv[optind - 1]);
}

static int exit_status(enum mayfly_status status)
{
	switch (status) {
	case MAYFLY_OK:
		return EXEC_DONE;
	case MAYFLY_INVALID_ARGUMENT:
		return EXEC_USAGE;
	case MAYFLY_NOT_REACHABLE:
	case MAYFLY_TIMED_OUT:
		return EXEC_UNREACHABLE;
	default:
		return EXEC_FAILED;
	}
}

int complain(const char *verb, const struct mayfly_failure *failure)
{
	(void)fprintf(stderr, "mayfly: %s: ", verb);
	put_clean(stderr, failure->text);
	(void)fputc('\n', stderr);
	if (failure->advice[0]) {
		put_clean(stderr, failure->advice);
		(void)fputc('\n', stderr);
	}
	return exit_status(failure->status);
}

int finish_output(const char *verb, int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	(void)fprintf(stderr, "mayfly: %s: standard output: %s\n", verb, strerror(errno));
	return EXEC_FAILED;
}

bool duration_parse(const char *text, uint32_t longest_ms, uint32_t *ret_ms)
{
	static const struct {
		char unit;
		uint32_t ms;
	} units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
	uint64_t number = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		number = number * 10 + (uint64_t)(*at - '0');
		if (number > UINT32_MAX)
			return false;
	}
	for (size_t i = 0; at != text && i < sizeof units / sizeof units[0]; i++)
		if (at[0] == units[i].unit && !at[1] && number * units[i].ms <= longest_ms) {
			*ret_ms = (uint32_t)(number * units[i].ms);
			return true;
		}
	return false;
}
