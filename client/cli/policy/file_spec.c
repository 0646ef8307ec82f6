#include "client/cli/policy/file_spec.h"

#include "client/cli/terminal/text.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool has_only(const char *text, const char *characters)
{
	return text[0] != '\0' && text[strspn(text, characters)] == '\0';
}

int file_mode_parse(const char *text, mode_t *ret_mode, struct mayfly_error *err)
{
	const char *digits = strncmp(text, "0o", 2) == 0 ? text + 2 : text;
	unsigned long mode;

	if (!has_only(digits, "01234567") || strlen(digits) > 5)
		return error_set(err, -EINVAL, "a mode is octal, as in mode=0440");
	mode = strtoul(digits, NULL, 8);
	if (mode > 0777)
		return error_set(err, -EINVAL, "a mode has no more than 0777");
	*ret_mode = (mode_t)mode;
	return 0;
}

int file_id_parse(const char *what, const char *text, uint32_t *ret_id, struct mayfly_error *err)
{
	unsigned long long id;

	if (!has_only(text, "0123456789") || strlen(text) > 10)
		return error_set(err, -EINVAL, "%s is a number, as in %s=1000", what, what);
	id = strtoull(text, NULL, 10);
	/* The largest one means "none" to the kernel. */
	if (id >= UINT32_MAX)
		return error_set(err, -EINVAL, "%s is at most %u", what, UINT32_MAX - 1);
	*ret_id = (uint32_t)id;
	return 0;
}

static int parse_setting(const char *setting, struct file_spec *spec, struct mayfly_error *err)
{
	if (strncmp(setting, "uid=", 4) == 0) {
		spec->has_uid = true;
		return file_id_parse("uid", setting + 4, &spec->uid, err);
	}
	if (strncmp(setting, "gid=", 4) == 0) {
		spec->has_gid = true;
		return file_id_parse("gid", setting + 4, &spec->gid, err);
	}
	if (strncmp(setting, "mode=", 5) == 0) {
		spec->has_mode = true;
		return file_mode_parse(setting + 5, &spec->mode, err);
	}
	return error_set(err, -EINVAL, "behind ':' comes uid=N, gid=N or mode=0NNN");
}

static int parse_settings(char *rest, struct file_spec *spec, struct mayfly_error *err)
{
	char *next;

	for (; rest; rest = next) {
		int r;

		next = strchr(rest, ':');
		if (next)
			*next++ = '\0';
		r = parse_setting(rest, spec, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int file_spec_parse(
	const char *text, size_t length, struct file_spec *ret_spec, struct mayfly_error *err)
{
	char buffer[2 * MAYFLY_REFERENCE_MAX + 64];
	struct file_spec spec = { 0 };
	char *path, *settings;
	int r;

	if (length >= sizeof buffer || memchr(text, '\0', length))
		return error_set(err, -EINVAL, "a file's description of %zu bytes", length);
	memcpy(buffer, text, length);
	buffer[length] = '\0';
	settings = strchr(buffer, ':');
	if (settings)
		*settings++ = '\0';
	path = strchr(buffer, '=');
	if (path)
		*path++ = '\0';
	r = secret_selector_check(buffer, err);
	if (r == 0 && path)
		r = file_path_check(path, err);
	if (r == 0)
		r = parse_settings(settings, &spec, err);
	if (r < 0)
		return r;
	memcpy(spec.name, buffer, strlen(buffer) + 1);
	if (path && strcmp(path, buffer) != 0)
		memcpy(spec.path, path, strlen(path) + 1);
	*ret_spec = spec;
	return 0;
}

char *file_spec_text(const struct file_spec *spec)
{
	AUTO_FREE char *uid = spec->has_uid ? text_format(":uid=%u", spec->uid) : text_copy("");
	AUTO_FREE char *gid = spec->has_gid ? text_format(":gid=%u", spec->gid) : text_copy("");
	AUTO_FREE char *mode =
		spec->has_mode ? text_format(":mode=%04o", spec->mode) : text_copy("");

	return text_format(
		"%s%s%s%s%s%s", spec->name, spec->path[0] ? "=" : "", spec->path, uid, gid, mode);
}
