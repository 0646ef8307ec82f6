#include "client/lib/wire/failure.h"

#include "client/lib/wire/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A text that was cut may end within a character. */
static void cut_to_characters(char *text)
{
	text[utf8_whole(text, strlen(text))] = '\0';
}

static void fill(struct mayfly_failure *failure, enum mayfly_status status, const char *format,
	va_list arguments) __attribute__((format(printf, 3, 0)));

static void fill(struct mayfly_failure *failure, enum mayfly_status status, const char *format,
	va_list arguments)
{
	*failure = (struct mayfly_failure){ .status = status };
	(void)vsnprintf(failure->text, sizeof failure->text, format, arguments);
	cut_to_characters(failure->text);
}

enum mayfly_status failure_set(
	struct mayfly_failure *failure, enum mayfly_status status, const char *format, ...)
{
	va_list arguments;

	if (!failure)
		return status;
	va_start(arguments, format);
	fill(failure, status, format, arguments);
	va_end(arguments);
	return status;
}

enum mayfly_status failure_errno(struct mayfly_failure *failure, enum mayfly_status status,
	int system_error, const char *format, ...)
{
	va_list arguments;
	size_t used;

	if (!failure)
		return status;
	va_start(arguments, format);
	fill(failure, status, format, arguments);
	va_end(arguments);
	failure->system_error = system_error;
	used = strlen(failure->text);
	errno = system_error;
	/* %m, as strerror() is not for threads and strerror_r() is not the same in every libc. */
	(void)snprintf(failure->text + used, sizeof failure->text - used, ": %m");
	cut_to_characters(failure->text);
	return status;
}

void failure_advise(struct mayfly_failure *failure, const char *advice)
{
	if (!failure)
		return;
	(void)snprintf(failure->advice, sizeof failure->advice, "%s", advice);
	cut_to_characters(failure->advice);
}

enum mayfly_status failure_pass(struct mayfly_failure *failure, const struct mayfly_failure *inner)
{
	if (failure)
		*failure = *inner;
	return inner->status;
}

enum mayfly_status failure_no_memory(struct mayfly_failure *failure)
{
	return failure_errno(failure, MAYFLY_NO_MEMORY, ENOMEM, "libmayfly");
}
