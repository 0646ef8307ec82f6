#include "daemon/engine/facts/user_lookup.h"

#include "daemon/engine/facts/engine_root.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

/* passwd: name, password, uid, gid; group: name, password, gid. */
enum { FIELD_NAME = 0, FIELD_ID = 2, FIELD_GROUP_OF_USER = 3, FIELDS_READ = 4 };

struct text {
	const char *bytes;
	size_t length;
};

/* One half of "user:group". */
struct name_or_number {
	struct text text;
	bool is_number;
	int64_t number;
};

struct entry {
	int64_t id;
	int64_t group_of_user;
};

/* As the runtime's language reads a decimal number: a sign is allowed, what does not fit becomes
 * the largest. *RET_NUMBER is set either way; returns whether TEXT was a number that fits. */
static bool read_number(struct text text, int64_t *ret_number)
{
	const bool is_signed = text.length > 0 && (text.bytes[0] == '-' || text.bytes[0] == '+');
	const bool is_negative = is_signed && text.bytes[0] == '-';
	int64_t number = 0;

	*ret_number = 0;
	if (text.length == (is_signed ? 1 : 0))
		return false;
	for (size_t i = is_signed ? 1 : 0; i < text.length; i++) {
		const int digit = text.bytes[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		if (number > (INT64_MAX - digit) / 10)
			number = INT64_MAX;
		else
			number = number * 10 + digit;
	}
	*ret_number = is_negative ? -number : number;
	return number != INT64_MAX;
}

static struct name_or_number name_or_number_of(struct text text)
{
	struct name_or_number result = { .text = text };

	result.is_number = read_number(text, &result.number);
	return result;
}

static struct text take_field(struct text *rest, char separator)
{
	const char *end = rest->length > 0 ? memchr(rest->bytes, separator, rest->length) : NULL;
	const size_t length = end ? (size_t)(end - rest->bytes) : rest->length;
	const struct text field = { rest->bytes, length };
	const size_t taken = length + (end ? 1 : 0);

	rest->bytes += taken;
	rest->length -= taken;
	return field;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct text trim(struct text text)
{
	while (text.length > 0 && is_space(text.bytes[0])) {
		text.bytes++;
		text.length--;
	}
	while (text.length > 0 && is_space(text.bytes[text.length - 1]))
		text.length--;
	return text;
}

static bool text_equal(struct text a, struct text b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

/* A field that is missing or no number counts as 0: so does the runtime. */
static bool line_fits(
	struct text line, const struct name_or_number *wanted, struct entry *ret_entry)
{
	struct text fields[FIELDS_READ] = { 0 };
	struct entry entry;

	for (int i = 0; i < FIELDS_READ; i++)
		fields[i] = take_field(&line, ':');
	(void)read_number(fields[FIELD_ID], &entry.id);
	(void)read_number(fields[FIELD_GROUP_OF_USER], &entry.group_of_user);
	if (wanted->is_number ? entry.id != wanted->number
			      : !text_equal(fields[FIELD_NAME], wanted->text))
		return false;
	*ret_entry = entry;
	return true;
}

/* Returns 1 with the first line of PATH that fits, 0 when none does or the file is not there. */
static int find_entry(int root, const char *path, const struct name_or_number *wanted,
	struct entry *ret_entry, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes file = { 0 };
	struct text rest;
	int r;

	if (root < 0)
		return error_set(err, -EUNATCH,
			"the container's root file system is not mounted where it can be read");
	r = root_read_file(root, path, ROOT_ONE_MOUNT, USER_FILE_MAX_BYTES, &file, err);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_within(err, "the container's %s", path);
	rest = (struct text){ file.bytes, file.length };
	while (rest.length > 0) {
		const struct text line = take_field(&rest, '\n');
		const struct text trimmed = trim(line);

		if (line.length >= USER_LINE_MAX_BYTES)
			return error_set(err, -EFBIG,
				"the container's %s has a line that the runtime cannot read", path);
		if (trimmed.length > 0 && line_fits(trimmed, wanted, ret_entry))
			return 1;
	}
	return 0;
}

static int take_id(int64_t id, uint32_t *ret_id, struct mayfly_error *err)
{
	if (id < 0 || id > USER_ID_MAX)
		return error_set(err, -ERANGE, "%jd is no uid or gid", (intmax_t)id);
	*ret_id = (uint32_t)id;
	return 0;
}

static int unknown_name(
	const char *kind, struct text name, const char *path, struct mayfly_error *err)
{
	char shown[64];

	return error_set(err, -ENOENT, "no %s '%s' in the container's %s", kind,
		error_quote(shown, sizeof shown, name.bytes, name.length), path);
}

static int look_up_user(int root, struct text text, struct user_ids *ids, struct mayfly_error *err)
{
	struct name_or_number wanted = name_or_number_of(text);
	struct entry entry = { 0 };
	int r;

	if (text.length == 0)
		wanted = (struct name_or_number){ .is_number = true, .number = 0 };
	r = find_entry(root, "/etc/passwd", &wanted, &entry, err);
	/* Whoever has uid 0 owns the files, whatever its group is. */
	if (r == -EUNATCH && text.length == 0)
		r = 0;
	if (r < 0)
		return r;
	if (r == 0 && !wanted.is_number)
		return unknown_name("user", text, "/etc/passwd", err);
	if (r == 0)
		entry = (struct entry){ .id = wanted.number, .group_of_user = 0 };
	r = take_id(entry.id, &ids->uid, err);
	return r == 0 ? take_id(entry.group_of_user, &ids->gid, err) : r;
}

static int look_up_group(int root, struct text text, struct user_ids *ids, struct mayfly_error *err)
{
	const struct name_or_number wanted = name_or_number_of(text);
	struct entry entry = { 0 };
	int r;

	/* A number stays what it is, with or without a line. */
	if (wanted.is_number)
		return take_id(wanted.number, &ids->gid, err);
	r = find_entry(root, "/etc/group", &wanted, &entry, err);
	if (r < 0)
		return r;
	if (r == 0)
		return unknown_name("group", text, "/etc/group", err);
	return take_id(entry.id, &ids->gid, err);
}

int user_lookup(int root, const char *text, struct user_ids *ret_ids, struct mayfly_error *err)
{
	struct text rest = { text, strlen(text) };
	const struct text user = take_field(&rest, ':');
	const struct text group = take_field(&rest, ':');
	const struct name_or_number number = name_or_number_of(user);
	struct user_ids ids = { 0 };
	int r;

	/* Both given as numbers: no file can change the answer. */
	if (number.is_number && group.length > 0)
		r = take_id(number.number, &ids.uid, err);
	else
		r = look_up_user(root, user, &ids, err);
	if (r == 0 && group.length > 0)
		r = look_up_group(root, group, &ids, err);
	if (r == 0)
		*ret_ids = ids;
	return r;
}
