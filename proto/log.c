#include "proto/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
	const char *name;
	int with_priority;
} sink = { .name = "mayfly" };

void log_init(const char *name, int with_priority)
{
	sink.name = name;
	sink.with_priority = with_priority;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[2048];
	size_t length = 0;
	va_list arguments;
	int written;

	if (sink.with_priority)
		length = (size_t)snprintf(line, sizeof line, "<%d>", (int)level);
	length += (size_t)snprintf(line + length, sizeof line - length, "%s: ", sink.name);
	va_start(arguments, format);
	written = vsnprintf(line + length, sizeof line - length - 1, format, arguments);
	va_end(arguments);
	if (written > 0)
		length += (size_t)written;
	if (length > sizeof line - 2)
		length = sizeof line - 2;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < 32)
			line[i] = ' ';
	line[length++] = '\n';
	/* A log that nobody reads must not stop the service. */
	if (write(STDERR_FILENO, line, length) < 0)
		return;
}
