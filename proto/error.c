#include "proto/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int __attribute__((format(printf, 3, 0))) set_text(struct mayfly_error *err, int code,
	const char *format, va_list arguments, const char *reason)
{
	int written;

	if (!err)
		return code;
	err->code = code;
	written = vsnprintf(err->text, sizeof err->text, format, arguments);
	if (written < 0)
		err->text[0] = '\0';
	if (reason && written >= 0 && (size_t)written < sizeof err->text)
		(void)snprintf(
			err->text + written, sizeof err->text - (size_t)written, ": %s", reason);
	return code;
}

int error_set(struct mayfly_error *err, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	code = set_text(err, code, format, arguments, NULL);
	va_end(arguments);
	return code;
}

int error_errno(struct mayfly_error *err, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	/* strerrordesc_np is thread-safe and needs no locale. */
	const char *reason = strerrordesc_np(-code);
	code = set_text(err, code, format, arguments, reason ? reason : "unknown error");
	va_end(arguments);
	return code;
}

int error_within(struct mayfly_error *err, const char *format, ...)
{
	char inner[sizeof err->text];
	va_list arguments;

	if (!err)
		return -1;
	memcpy(inner, err->text, sizeof inner);
	va_start(arguments, format);
	(void)set_text(err, err->code, format, arguments, inner);
	va_end(arguments);
	return err->code;
}

const char *error_quote(char *buffer, size_t size, const char *text, size_t length)
{
	const size_t room = size - 1;
	const size_t shown = length <= room ? length : room - 3;

	for (size_t i = 0; i < shown; i++) {
		const unsigned char c = (unsigned char)text[i];
		buffer[i] =
			(c < 32 || c > 126 || c == '"' || c == '\'' || c == '\\') ? '?' : (char)c;
	}
	if (shown < length)
		memcpy(buffer + shown, "...", 3);
	buffer[shown < length ? shown + 3 : shown] = '\0';
	return buffer;
}
