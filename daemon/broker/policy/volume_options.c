#include "daemon/broker/policy/policy.h"

#include "proto/cleanup.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 96
#define ID_MAX	  4294967294ULL /* 4294967295 means "no id" to the kernel */

static int read_id(const char *text, size_t length, uint32_t *ret_id)
{
	unsigned long long number = 0;

	if (length == 0 || length > 10 || strspn(text, "0123456789") < length)
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		number = number * 10 + (unsigned long long)(text[i] - '0');
	if (number > ID_MAX)
		return -EINVAL;
	*ret_id = (uint32_t)number;
	return 0;
}

/* "0" and three octal digits: no set-id bit can be written. */
static int read_mode(const char *text, size_t length, mode_t *ret_mode)
{
	if (length != 4 || text[0] != '0' || strspn(text, "01234567") < length)
		return -EINVAL;
	*ret_mode = (mode_t)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
	return 0;
}

static bool starts_with(const char *text, size_t length, const char *prefix)
{
	return length >= strlen(prefix) && strncmp(text, prefix, strlen(prefix)) == 0;
}

/* "uid=N", "gid=N" or "mode=0NNN", each at most once. */
static int read_attribute(
	struct file_choice *choice, const char *text, size_t length, struct mayfly_error *err)
{
	char shown[SHOWN_MAX];
	int r = -EINVAL;

	if (starts_with(text, length, "uid=") && !choice->has_uid) {
		r = read_id(text + 4, length - 4, &choice->uid);
		choice->has_uid = true;
	} else if (starts_with(text, length, "gid=") && !choice->has_gid) {
		r = read_id(text + 4, length - 4, &choice->gid);
		choice->has_gid = true;
	} else if (starts_with(text, length, "mode=") && !choice->has_mode) {
		r = read_mode(text + 5, length - 5, &choice->mode);
		choice->has_mode = true;
	}
	if (r < 0)
		return error_set(err, r,
			"option `files`: '%s' is not uid=N, gid=N or mode=0NNN, each once",
			error_quote(shown, sizeof shown, text, length));
	return 0;
}

static int read_path(
	char path[MAYFLY_FILE_PATH_SIZE], const char *text, size_t length, struct mayfly_error *err)
{
	char shown[SHOWN_MAX];
	int r;

	if (length >= MAYFLY_FILE_PATH_SIZE)
		return error_set(err, -EINVAL, "option `files`: '%s' is longer than %d bytes",
			error_quote(shown, sizeof shown, text, length), MAYFLY_FILE_PATH_SIZE - 1);
	memcpy(path, text, length);
	path[length] = '\0';
	r = file_path_check(path, err);
	if (r < 0)
		(void)error_within(err, "option `files`");
	return r;
}

/* PATH[=NEWPATH][:ATTRIBUTE]... */
static int read_choice(
	struct file_choice *choice, const char *text, size_t length, struct mayfly_error *err)
{
	const char *end = text + length;
	const char *colon = memchr(text, ':', length);
	const char *names_end = colon ? colon : end;
	const char *equals = memchr(text, '=', (size_t)(names_end - text));
	const char *path_end = equals ? equals : names_end;
	int r = read_path(choice->path, text, (size_t)(path_end - text), err);

	if (r < 0)
		return r;
	memcpy(choice->new_path, choice->path, sizeof choice->new_path);
	if (equals)
		r = read_path(choice->new_path, equals + 1, (size_t)(names_end - equals - 1), err);
	while (r == 0 && colon) {
		const char *next = memchr(colon + 1, ':', (size_t)(end - colon - 1));

		r = read_attribute(
			choice, colon + 1, (size_t)((next ? next : end) - colon - 1), err);
		colon = next;
	}
	return r;
}

static size_t commas(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += *text == ',';
	return count;
}

static int read_files(struct volume_options *options, const char *text, struct mayfly_error *err)
{
	const size_t count = commas(text) + 1;

	if (count > MAYFLY_DELIVERY_MAX_FILES)
		return error_set(err, -EINVAL,
			"option `files` names %zu files, at most %d fit in a delivery", count,
			MAYFLY_DELIVERY_MAX_FILES);
	options->files = calloc(count, sizeof *options->files);
	if (!options->files)
		return error_errno(err, -ENOMEM, "read the option `files`");
	for (const char *at = text; at;) {
		const char *comma = strchrnul(at, ',');
		const int r = read_choice(
			&options->files[options->files_count++], at, (size_t)(comma - at), err);

		if (r < 0)
			return r;
		at = *comma ? comma + 1 : NULL;
	}
	return 0;
}

static int read_grant(struct volume_options *options, const char *text, struct mayfly_error *err)
{
	if (strlen(text) >= sizeof options->grant)
		return error_set(err, -EINVAL, "option `grant` is longer than %zu bytes",
			sizeof options->grant - 1);
	memcpy(options->grant, text, strlen(text) + 1);
	return 0;
}

static int read_option(
	struct volume_options *options, const char *key, json_t *value, struct mayfly_error *err)
{
	static const char *const known[] = { "grant", "files" };
	const char *text = json_string_value(value);
	const char *nearest = nearest_word(key, known, 2);
	char shown[SHOWN_MAX];

	if (strcmp(key, "grant") != 0 && strcmp(key, "files") != 0)
		return error_set(err, -EINVAL,
			"unknown option '%s'%s%s%s; there are `grant` and `files`",
			error_quote(shown, sizeof shown, key, strlen(key)),
			nearest ? "; did you mean '" : "", nearest ? nearest : "",
			nearest ? "'?" : "");
	/* An empty one would mean everything: what an unset variable in a compose file makes of a
	 * volume that was to be narrow. */
	if (!text || !*text)
		return error_set(err, -EINVAL, "option `%s` is empty or no string", key);
	return strcmp(key, "grant") == 0 ? read_grant(options, text, err)
					 : read_files(options, text, err);
}

int volume_options_parse(
	json_t *options, struct volume_options *ret_options, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(volume_options_done) struct volume_options read = { 0 };
	const char *key;
	json_t *value;

	if (options && !json_is_null(options) && !json_is_object(options))
		return error_set(err, -EINVAL, "the volume's options are no object");
	json_object_foreach (options, key, value) {
		const int r = read_option(&read, key, value, err);

		if (r < 0)
			return r;
	}
	*ret_options = read;
	read = (struct volume_options){ 0 };
	return 0;
}

int volume_options_copy(const struct volume_options *options, struct volume_options *ret_copy)
{
	struct volume_options copy = *options;

	copy.files = calloc(options->files_count + 1, sizeof *copy.files);
	if (!copy.files)
		return -ENOMEM;
	if (options->files_count > 0)
		memcpy(copy.files, options->files, options->files_count * sizeof *copy.files);
	*ret_copy = copy;
	return 0;
}

void volume_options_done(struct volume_options *options)
{
	free(options->files);
	*options = (struct volume_options){ 0 };
}
