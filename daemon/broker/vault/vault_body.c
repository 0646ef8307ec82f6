#include "daemon/broker/vault/vault_body.h"

#include "daemon/broker/https/json_slice.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Writes BYTES as the inside of a JSON string; INTO NULL only counts. */
static size_t escape(const char *bytes, size_t length, char *into)
{
	static const char digits[] = "0123456789abcdef";
	size_t count = 0;

	for (size_t i = 0; i < length; i++) {
		const unsigned char c = (unsigned char)bytes[i];
		const bool is_control = c < 0x20, is_special = c == '"' || c == '\\';

		if (into && is_control) {
			memcpy(into + count, "\\u00", 4);
			into[count + 4] = digits[c >> 4];
			into[count + 5] = digits[c & 15];
		} else if (into && is_special) {
			into[count] = '\\';
			into[count + 1] = (char)c;
		} else if (into) {
			into[count] = (char)c;
		}
		count += is_control ? 6 : is_special ? 2 : 1;
	}
	return count;
}

static size_t put(char *into, size_t at, const char *text, size_t length)
{
	if (into)
		memcpy(into + at, text, length);
	return at + length;
}

static size_t write_fields(const struct vault_field *fields, size_t count, char *into)
{
	size_t at = put(into, 0, "{", 1);

	for (size_t i = 0; i < count; i++) {
		const struct vault_field *field = &fields[i];

		at = put(into, at, i ? ",\"" : "\"", i ? 2 : 1);
		at = put(into, at, field->key, strlen(field->key));
		at = put(into, at, "\":", 2);
		if (field->is_raw) {
			at = put(into, at, field->bytes, field->length);
			continue;
		}
		at = put(into, at, "\"", 1);
		at += escape(field->bytes, field->length, into ? into + at : NULL);
		at = put(into, at, "\"", 1);
	}
	return put(into, at, "}", 1);
}

int vault_body_make(struct arena *arena, const struct vault_field *fields, size_t count,
	struct secret *ret_body, struct mayfly_error *err)
{
	AUTO_SECRET body = { 0 };
	struct json_slice document;
	const int r = secret_new(arena, write_fields(fields, count, NULL), &body, err);

	if (r < 0)
		return r;
	(void)write_fields(fields, count, (char *)body.bytes);
	if (json_slice_check((const char *)body.bytes, body.length, &document) < 0)
		return error_set(err, -EILSEQ,
			"a value that is no text (UTF-8) cannot be sent to such a server");
	*ret_body = secret_take(&body);
	return 0;
}

int vault_file_read(struct arena *arena, const char *path, bool is_public,
	struct secret *ret_secret, struct mayfly_error *err)
{
	const size_t max_bytes = VAULT_FILE_MAX_BYTES;
	AUTO_SECRET secret = { 0 };
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	size_t length = 0;
	ssize_t n;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open '%s' as the broker's user", path);
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		return error_set(err, -EINVAL, "'%s' is no file", path);
	if (!is_public && (status.st_mode & S_IROTH))
		return error_set(err, -EPERM,
			"everybody may read '%s': `chmod 0400` it and give it to the broker's user",
			path);
	r = secret_new(arena, max_bytes, &secret, err);
	if (r < 0)
		return r;
	while (length < max_bytes &&
		(n = read(fd, secret.bytes + length, max_bytes - length)) != 0) {
		if (n < 0)
			return error_errno(err, -errno, "read '%s'", path);
		length += (size_t)n;
	}
	if (length == max_bytes)
		return error_set(err, -EFBIG, "'%s' has more than %zu bytes", path, max_bytes - 1);
	while (length > 0 && strchr(" \t\r\n", secret.bytes[length - 1]))
		length--;
	if (length == 0)
		return error_set(err, -ENODATA, "nothing stands in '%s'", path);
	secret_shorten(&secret, length);
	*ret_secret = secret_take(&secret);
	return 0;
}
