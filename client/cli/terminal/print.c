#include "client/cli/terminal/print.h"

#include "client/cli/terminal/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

MAYFLY_PRINTF(2, 0)
static void print_clean(FILE *out, const char *format, va_list arguments)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *clean = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		return;
	clean = text_clean(text);
	/* A stream that takes nothing is noticed by print_finish(). */
	(void)fputs(clean, out);
}

void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_clean(stdout, format, arguments);
	va_end(arguments);
}

static bool is_coloured(void)
{
	const char *no_colour = getenv("NO_COLOR");

	return !(no_colour && no_colour[0]) && isatty(STDOUT_FILENO);
}

void say_painted(enum paint paint, const char *format, ...)
{
	static const char *const codes[] = { [PAINT_PLAIN] = "",
		[PAINT_GOOD] = "\033[32m",
		[PAINT_BAD] = "\033[31m",
		[PAINT_WEAK] = "\033[2m",
		[PAINT_STRONG] = "\033[1m" };
	const bool coloured = paint != PAINT_PLAIN && is_coloured();
	va_list arguments;

	if (coloured)
		(void)fputs(codes[paint], stdout);
	va_start(arguments, format);
	print_clean(stdout, format, arguments);
	va_end(arguments);
	if (coloured)
		(void)fputs("\033[0m", stdout);
}

void say_aside(const char *format, ...)
{
	va_list arguments;

	/* In the order in which it was said, when both go to one terminal. */
	(void)fflush(stdout);
	va_start(arguments, format);
	print_clean(stderr, format, arguments);
	va_end(arguments);
}

void say_wrapped(unsigned indent, unsigned width, const char *text)
{
	size_t column = indent;

	while (*text) {
		const size_t word = strcspn(text, " \n");
		const bool is_first = column == indent;

		if (!is_first && column + 1 + word > width) {
			say("\n%*s", (int)indent, "");
			column = indent;
		} else if (!is_first) {
			say(" ");
			column++;
		}
		say("%.*s", (int)word, text);
		column += word;
		text += word;
		text += strspn(text, " \n");
	}
	say("\n");
}

int print_json(json_t *json)
{
	AUTO_JSON json_t *owned = json_made(json);
	AUTO_FREE char *text =
		json_dumps(owned, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

	if (text)
		/* A stream that takes nothing is noticed by print_finish(). */
		(void)fprintf(stdout, "%s\n", text);
	return text ? CLI_DONE : CLI_REFUSED;
}

void print_error(const struct mayfly_error *err)
{
	const char *next = strchr(err->text, '\n');

	if (next)
		say_aside("mayfly: %.*s\n  %s\n", (int)(next - err->text), err->text, next + 1);
	else
		say_aside("mayfly: %s\n", err->text);
}

int print_finish(struct mayfly_error *err)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return error_errno(err, errno ? -errno : -EIO, "write the answer");
	return 0;
}

char *text_join(json_t *list)
{
	char *joined = text_copy("");
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		const char *between = i == 0 ? "" : i + 1 < json_array_size(list) ? ", " : " and ";
		char *longer = text_format("%s%s%s", joined, between, json_string_value(item));

		free(joined);
		joined = longer;
	}
	return joined;
}
