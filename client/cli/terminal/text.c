#include "client/cli/terminal/text.h"

#include "client/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void memory_is_short(void)
{
	static const char words[] = "mayfly: there is not enough memory\n";

	/* Nothing can be done about a standard error that takes nothing. */
	(void)!write(STDERR_FILENO, words, sizeof words - 1);
	_exit(CLI_REFUSED);
}

MAYFLY_PRINTF(1, 0)
static char *text_format_v(const char *format, va_list arguments)
{
	char *text = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		memory_is_short();
	return text;
}

char *text_format(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = text_format_v(format, arguments);
	va_end(arguments);
	return text;
}

char *text_copy(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		memory_is_short();
	return copy;
}

json_t *json_made(json_t *json)
{
	if (!json)
		memory_is_short();
	return json;
}

void text_list_add(struct text_list *list, const char *format, ...)
{
	va_list arguments;

	list->items = reallocarray(list->items, list->count + 1, sizeof *list->items);
	if (!list->items)
		memory_is_short();
	va_start(arguments, format);
	list->items[list->count++] = text_format_v(format, arguments);
	va_end(arguments);
}

bool text_list_has(const struct text_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

void text_list_done(struct text_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){ 0 };
}

char *text_clean(const char *text)
{
	char *clean = text_copy(text);

	for (unsigned char *c = (unsigned char *)clean; *c; c++) {
		if ((*c < 32 && *c != '\n' && *c != '\t') || *c == 127)
			*c = '?';
		/* U+0080 to U+009F: a terminal may take them for ESC and another byte. */
		if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			*c = c[1] = '?';
	}
	return clean;
}
