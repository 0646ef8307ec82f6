#include "proto/backup/backup_record.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum record_kind {
	RECORD_INVALID = 0,
	RECORD_INFO,
	RECORD_FILE,
	RECORD_AUDIT_KEY,
	RECORD_SECRET,
	RECORD_VERSION,
	RECORD_END
};

#define INFO_BYTES    (8 + BACKUP_STORE_BYTES + 8 + BACKUP_MAC_BYTES)
#define SECRET_BYTES  (1 + 4 + 4 + 4 + 8 + 8)
#define VERSION_BYTES (4 + 8)
#define END_BYTES     (8 + 8 + 8)
/* The longest record but a file's and a version's. */
#define SMALL_MAX     512

/* A small record on its way. */
struct small {
	size_t length, taken;
	unsigned char bytes[SMALL_MAX];
};

static void put_number(struct small *small, size_t width, uint64_t number)
{
	for (size_t i = 0; i < width; i++)
		small->bytes[small->length++] = (unsigned char)(number >> (8 * i));
}

static void put_bytes(struct small *small, const void *bytes, size_t length)
{
	memcpy(small->bytes + small->length, bytes, length);
	small->length += length;
}

static void put_text(struct small *small, const char *text)
{
	const size_t length = strlen(text);

	put_number(small, 1, length);
	put_bytes(small, text, length);
}

/* Head of a record and SMALL; MORE bytes follow. */
static int write_record(struct backup_writer *writer, enum record_kind kind,
	const struct small *small, size_t more, struct mayfly_error *err)
{
	struct small head = { 0 };
	int r;

	put_number(&head, 1, kind);
	put_number(&head, 4, small->length + more);
	r = backup_writer_put(writer, head.bytes, head.length, err);
	return r < 0 ? r : backup_writer_put(writer, small->bytes, small->length, err);
}

int backup_write_info(
	struct backup_writer *writer, const struct backup_info *info, struct mayfly_error *err)
{
	struct small small = { 0 };

	put_number(&small, 8, (uint64_t)info->made_unix_s);
	put_bytes(&small, info->store, sizeof info->store);
	put_number(&small, 8, info->audit_seq);
	put_bytes(&small, info->audit_mac, sizeof info->audit_mac);
	put_text(&small, info->host);
	put_text(&small, info->environment);
	return write_record(writer, RECORD_INFO, &small, 0, err);
}

int backup_write_file(struct backup_writer *writer, struct backup_counts *counts, const char *name,
	const char *text, size_t length, struct mayfly_error *err)
{
	struct small small = { 0 };
	int r;

	if (!backup_file_name_is_good(name) || length > BACKUP_FILE_MAX)
		return error_set(err, -EINVAL, "a file of this name or length has no place");
	put_text(&small, name);
	counts->files++;
	r = write_record(writer, RECORD_FILE, &small, length, err);
	return r < 0 ? r : backup_writer_put(writer, text, length, err);
}

int backup_write_audit_key(
	struct backup_writer *writer, const struct secret *key, struct mayfly_error *err)
{
	const struct small none = { 0 };
	const int r = write_record(writer, RECORD_AUDIT_KEY, &none, key->length, err);

	return r < 0 ? r : backup_writer_put(writer, key->bytes, key->length, err);
}

int backup_write_secret(struct backup_writer *writer, struct backup_counts *counts,
	const struct backup_secret *secret, struct mayfly_error *err)
{
	struct small small = { 0 };

	put_number(&small, 1, secret->is_removed);
	put_number(&small, 4, secret->current);
	put_number(&small, 4, secret->next);
	put_number(&small, 4, secret->keep);
	put_number(&small, 8, (uint64_t)secret->changed_unix_s);
	put_number(&small, 8, (uint64_t)secret->removed_unix_s);
	put_text(&small, secret->reference.set);
	put_text(&small, secret->reference.name);
	counts->secrets++;
	return write_record(writer, RECORD_SECRET, &small, 0, err);
}

int backup_write_version(struct backup_writer *writer, struct backup_counts *counts,
	const struct backup_version *version, const struct secret *value, struct mayfly_error *err)
{
	struct small small = { 0 };
	int r;

	put_number(&small, 4, version->number);
	put_number(&small, 8, (uint64_t)version->created_unix_s);
	counts->versions++;
	r = write_record(writer, RECORD_VERSION, &small, value->length, err);
	return r < 0 ? r : backup_writer_put(writer, value->bytes, value->length, err);
}

int backup_write_end(
	struct backup_writer *writer, const struct backup_counts *counts, struct mayfly_error *err)
{
	struct small small = { 0 };
	int r;

	put_number(&small, 8, counts->files);
	put_number(&small, 8, counts->secrets);
	put_number(&small, 8, counts->versions);
	r = write_record(writer, RECORD_END, &small, 0, err);
	return r < 0 ? r : backup_writer_end(writer, err);
}

bool backup_file_name_is_good(const char *name)
{
	const size_t prefix = sizeof BACKUP_POLICY_PREFIX - 1;
	const size_t length = strlen(name);

	if (strcmp(name, BACKUP_CONFIG_NAME) == 0)
		return true;
	if (length > BACKUP_FILE_NAME_MAX || strncmp(name, BACKUP_POLICY_PREFIX, prefix) != 0 ||
		length < prefix + sizeof "x.json" - 1 || strcmp(name + length - 5, ".json") != 0 ||
		name[prefix] == '.')
		return false;
	for (const char *c = name + prefix; *c; c++)
		if (*c == '/' || (unsigned char)*c < ' ' || *c == 127)
			return false;
	return true;
}

struct reading {
	struct arena *arena;
	struct backup_reader *reader;
	const struct backup_visitor *visitor;
	enum record_kind last;
	bool has_audit_key;
	struct backup_secret secret;
	uint32_t versions_of_secret, last_version;
	struct backup_counts counts;
};

static int strange(struct mayfly_error *err)
{
	return error_set(err, -EBADMSG, "the backup is whole, but says what no Mayfly writes");
}

static uint64_t take_number(struct small *small, size_t width)
{
	uint64_t number = 0;

	if (small->taken > small->length || small->length - small->taken < width) {
		small->taken = SMALL_MAX + 1;
		return 0;
	}
	for (size_t i = 0; i < width; i++)
		number |= (uint64_t)small->bytes[small->taken++] << (8 * i);
	return number;
}

/* A reader that ran over the end stays there: asked once, behind all fields. */
static bool is_used_up(const struct small *small)
{
	return small->taken == small->length;
}

static void take_bytes(struct small *small, void *ret_bytes, size_t length)
{
	if (small->taken > small->length || small->length - small->taken < length) {
		small->taken = SMALL_MAX + 1;
		return;
	}
	memcpy(ret_bytes, small->bytes + small->taken, length);
	small->taken += length;
}

/* Text of at most SIZE - 1 bytes, none of them 0. */
static void take_text(struct small *small, char *ret_text, size_t size)
{
	const size_t length = (size_t)take_number(small, 1);

	ret_text[0] = '\0';
	if (small->taken > small->length || length >= size) {
		small->taken = SMALL_MAX + 1;
		return;
	}
	take_bytes(small, ret_text, length);
	if (small->taken <= small->length)
		ret_text[length] = '\0';
	if (strlen(ret_text) != length)
		small->taken = SMALL_MAX + 1;
}

static int read_small(
	struct reading *reading, size_t length, struct small *ret_small, struct mayfly_error *err)
{
	*ret_small = (struct small){ .length = length };
	if (length > SMALL_MAX)
		return strange(err);
	return backup_reader_get(reading->reader, ret_small->bytes, length, err);
}

/* It is shown and recorded: no character of it may be anything but itself there. */
static bool is_printable(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return true;
}

static int read_info(struct reading *reading, size_t length, struct mayfly_error *err)
{
	const struct backup_visitor *visitor = reading->visitor;
	struct backup_info info = { 0 };
	struct small small;
	int r = read_small(reading, length, &small, err);

	if (r < 0)
		return r;
	info.made_unix_s = (int64_t)take_number(&small, 8);
	take_bytes(&small, info.store, sizeof info.store);
	info.audit_seq = take_number(&small, 8);
	take_bytes(&small, info.audit_mac, sizeof info.audit_mac);
	take_text(&small, info.host, sizeof info.host);
	take_text(&small, info.environment, sizeof info.environment);
	if (!is_used_up(&small) || info.made_unix_s < 0 || !is_printable(info.host) ||
		info.audit_seq > INT64_MAX ||
		(info.environment[0] && set_name_check(info.environment, err) < 0))
		return strange(err);
	return visitor->on_info ? visitor->on_info(visitor->data, &info, err) : 0;
}

static int read_file(struct reading *reading, size_t length, struct mayfly_error *err)
{
	const struct backup_visitor *visitor = reading->visitor;
	char name[BACKUP_FILE_NAME_MAX + 1] = "";
	AUTO_FREE char *text = NULL;
	unsigned char name_length;
	int r;

	if (length < 1)
		return strange(err);
	r = backup_reader_get(reading->reader, &name_length, 1, err);
	if (r < 0)
		return r;
	if (length - 1 < name_length || length - 1 - name_length > BACKUP_FILE_MAX)
		return strange(err);
	length -= 1 + (size_t)name_length;
	r = backup_reader_get(reading->reader, name, name_length, err);
	if (r < 0)
		return r;
	if (strlen(name) != name_length || !backup_file_name_is_good(name))
		return strange(err);
	/* Files of an administrator hold no secret: their text need not lie in the arena. */
	text = calloc(1, length + 1);
	if (!text)
		return error_errno(err, -ENOMEM, "read the backup");
	r = backup_reader_get(reading->reader, text, length, err);
	if (r < 0)
		return r;
	reading->counts.files++;
	return visitor->on_file ? visitor->on_file(visitor->data, name, text, length, err) : 0;
}

static int read_audit_key(struct reading *reading, size_t length, struct mayfly_error *err)
{
	const struct backup_visitor *visitor = reading->visitor;
	AUTO_SECRET key = { 0 };
	int r;

	if (length < 1 || length > BACKUP_AUDIT_KEY_MAX || reading->has_audit_key)
		return strange(err);
	r = secret_new(reading->arena, length, &key, err);
	if (r == 0)
		r = backup_reader_get(reading->reader, key.bytes, length, err);
	if (r < 0)
		return r;
	reading->has_audit_key = true;
	return visitor->on_audit_key ? visitor->on_audit_key(visitor->data, &key, err) : 0;
}

static bool secret_is_possible(const struct backup_secret *secret)
{
	struct secret_reference reference;
	char text[MAYFLY_REFERENCE_MAX + MAYFLY_SET_NAME_MAX + 3];

	(void)snprintf(text, sizeof text, "%s/%s", secret->reference.set, secret->reference.name);
	/* Taken apart again it must be the same: a set with a slash in it would be another's. */
	return secret_reference_parse(text, &reference, NULL) == 0 &&
	       strcmp(reference.set, secret->reference.set) == 0 && secret->next >= 1 &&
	       secret->next <= (uint32_t)INT32_MAX + 1 && secret->keep >= 1 &&
	       secret->keep <= MAYFLY_VERSIONS_KEPT_MAX && secret->current < secret->next;
}

static int read_secret(struct reading *reading, size_t length, struct mayfly_error *err)
{
	const struct backup_visitor *visitor = reading->visitor;
	struct backup_secret *secret = &reading->secret;
	struct small small;
	uint64_t removed;
	int r = read_small(reading, length, &small, err);

	if (r < 0)
		return r;
	*secret = (struct backup_secret){ 0 };
	removed = take_number(&small, 1);
	secret->is_removed = removed == 1;
	secret->current = (uint32_t)take_number(&small, 4);
	secret->next = (uint32_t)take_number(&small, 4);
	secret->keep = (uint32_t)take_number(&small, 4);
	secret->changed_unix_s = (int64_t)take_number(&small, 8);
	secret->removed_unix_s = (int64_t)take_number(&small, 8);
	take_text(&small, secret->reference.set, sizeof secret->reference.set);
	take_text(&small, secret->reference.name, sizeof secret->reference.name);
	if (!is_used_up(&small) || removed > 1 || !secret_is_possible(secret))
		return strange(err);
	reading->versions_of_secret = 0;
	reading->last_version = 0;
	reading->counts.secrets++;
	return visitor->on_secret ? visitor->on_secret(visitor->data, secret, err) : 0;
}

static int read_version(struct reading *reading, size_t length, struct mayfly_error *err)
{
	const struct backup_visitor *visitor = reading->visitor;
	struct backup_version version;
	AUTO_SECRET value = { 0 };
	struct small small;
	int r;

	if (length <= VERSION_BYTES || length - VERSION_BYTES > MAYFLY_VALUE_MAX_BYTES)
		return strange(err);
	r = read_small(reading, VERSION_BYTES, &small, err);
	if (r < 0)
		return r;
	version.number = (uint32_t)take_number(&small, 4);
	version.created_unix_s = (int64_t)take_number(&small, 8);
	if (version.number <= reading->last_version || version.number >= reading->secret.next ||
		++reading->versions_of_secret > MAYFLY_VERSIONS_KEPT_MAX)
		return strange(err);
	reading->last_version = version.number;
	r = secret_new(reading->arena, length - VERSION_BYTES, &value, err);
	if (r == 0)
		r = backup_reader_get(reading->reader, value.bytes, value.length, err);
	if (r < 0)
		return r;
	reading->counts.versions++;
	return visitor->on_version ? visitor->on_version(visitor->data, &version, &value, err) : 0;
}

static int read_end(struct reading *reading, size_t length, struct mayfly_error *err)
{
	struct small small;
	int r;

	if (length != END_BYTES)
		return strange(err);
	r = read_small(reading, length, &small, err);
	if (r < 0)
		return r;
	if (take_number(&small, 8) != reading->counts.files ||
		take_number(&small, 8) != reading->counts.secrets ||
		take_number(&small, 8) != reading->counts.versions || !reading->has_audit_key)
		return strange(err);
	return backup_reader_end(reading->reader, err);
}

/* Whether a record of KIND may stand behind one of LAST. */
static bool may_follow(enum record_kind last, enum record_kind kind)
{
	switch (kind) {
	case RECORD_INFO:
		return last == RECORD_INVALID;
	case RECORD_FILE:
		return last == RECORD_INFO || last == RECORD_FILE;
	case RECORD_AUDIT_KEY:
		return last == RECORD_INFO || last == RECORD_FILE;
	case RECORD_SECRET:
	case RECORD_END:
		return last >= RECORD_AUDIT_KEY && last != RECORD_END;
	case RECORD_VERSION:
		return last == RECORD_SECRET || last == RECORD_VERSION;
	case RECORD_INVALID:
		break;
	}
	return false;
}

static int read_record(struct reading *reading, struct mayfly_error *err)
{
	static int (*const readers[])(struct reading *, size_t, struct mayfly_error *) = {
		[RECORD_INFO] = read_info,
		[RECORD_FILE] = read_file,
		[RECORD_AUDIT_KEY] = read_audit_key,
		[RECORD_SECRET] = read_secret,
		[RECORD_VERSION] = read_version,
		[RECORD_END] = read_end,
	};
	struct small head;
	enum record_kind kind;
	int r = read_small(reading, 5, &head, err);

	if (r < 0)
		return r;
	kind = (enum record_kind)take_number(&head, 1);
	if (kind > RECORD_END || !may_follow(reading->last, kind))
		return strange(err);
	reading->last = kind;
	return readers[kind](reading, (size_t)take_number(&head, 4), err);
}

int backup_read(struct arena *arena, int fd, const struct secret *recovery_key,
	const struct backup_visitor *visitor, struct backup_counts *ret_counts,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(backup_reader_free_p) struct backup_reader *reader = NULL;
	struct reading reading = { .arena = arena, .visitor = visitor };
	int r = backup_reader_new(arena, fd, recovery_key, &reader, err);

	reading.reader = reader;
	while (r == 0 && reading.last != RECORD_END)
		r = read_record(&reading, err);
	if (r == 0 && ret_counts)
		*ret_counts = reading.counts;
	return r;
}
