#include "daemon/broker/audit/audit_record.h"

#include "proto/boot_clock.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DELETE '\x7f'

static const char *const OUR_MEMBERS[] = { "seq", "time", "boot", "uptime_ms", "epoch", "mac" };

void audit_stamp_make(struct audit_stamp *ret_stamp, const char *boot, uint64_t epoch)
{
	struct timespec now;
	struct tm parts;
	char second[24];

	/* Does not fail for a clock that every kernel has. */
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*ret_stamp = (struct audit_stamp){
		.uptime_ms = (uint64_t)boot_clock_ms(),
		.epoch = epoch,
	};
	if (!gmtime_r(&now.tv_sec, &parts) ||
		strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &parts) == 0)
		second[0] = '\0';
	/* Both fit: a year has four digits until 9999, a boot id 36 characters. */
	(void)snprintf(ret_stamp->time, sizeof ret_stamp->time, "%s.%03dZ", second,
		(int)(now.tv_nsec / 1000000));
	(void)snprintf(ret_stamp->boot, sizeof ret_stamp->boot, "%s", boot);
}

static int add_bytes(struct audit_batch *batch, const char *bytes, size_t length)
{
	if (batch->size - batch->length < length) {
		const size_t size = (batch->length + length) * 2;
		char *const larger = realloc(batch->bytes, size);

		if (!larger)
			return -ENOMEM;
		batch->bytes = larger;
		batch->size = size;
	}
	memcpy(batch->bytes + batch->length, bytes, length);
	batch->length += length;
	return 0;
}

/* Where json_dump_callback() writes to, with the reason why it stopped. */
struct dump_target {
	struct audit_batch *batch;
	size_t limit; /* of the batch's length */
	int code;
};

static int on_dumped(const char *bytes, size_t length, void *data)
{
	struct dump_target *target = data;

	while (length > 0 && target->code == 0) {
		const char *const deleted = memchr(bytes, DELETE, length);
		const size_t plain = deleted ? (size_t)(deleted - bytes) : length;

		target->code = add_bytes(target->batch, bytes, plain);
		if (target->code == 0 && deleted)
			target->code = add_bytes(target->batch, "\\u007f", 6);
		if (target->code == 0 && target->batch->length > target->limit)
			target->code = -EMSGSIZE;
		length -= plain + (deleted ? 1 : 0);
		bytes += plain + (deleted ? 1 : 0);
	}
	return target->code == 0 ? 0 : -1;
}

static int check_record(json_t *record, struct mayfly_error *err)
{
	if (!json_is_object(record) || json_object_size(record) == 0)
		return error_set(
			err, -EINVAL, "write an audit record: it is no object with members");
	for (size_t i = 0; i < sizeof OUR_MEMBERS / sizeof OUR_MEMBERS[0]; i++)
		if (json_object_get(record, OUR_MEMBERS[i]))
			return error_set(err, -EINVAL,
				"write an audit record: '%s' is the chain's own member",
				OUR_MEMBERS[i]);
	return 0;
}

/* Adds the line's body: our members, then the record's, without the closing brace. */
static int add_body(struct audit_batch *batch, const struct audit_stamp *stamp, uint64_t seq,
	json_t *record, size_t limit)
{
	struct dump_target target = { .batch = batch, .limit = limit };
	char front[256];
	size_t brace;
	int r;

	/* 256 bytes hold three numbers of 20 digits, time, boot id and 50 bytes of names. */
	(void)snprintf(front, sizeof front,
		"{\"seq\":%ju,\"time\":\"%s\",\"boot\":\"%s\",\"uptime_ms\":%ju,\"epoch\":%ju",
		(uintmax_t)seq, stamp->time, stamp->boot, (uintmax_t)stamp->uptime_ms,
		(uintmax_t)stamp->epoch);
	r = add_bytes(batch, front, strlen(front));
	if (r < 0)
		return r;
	brace = batch->length;
	if (json_dump_callback(record, on_dumped, &target, JSON_COMPACT | JSON_ENSURE_ASCII) != 0)
		return target.code < 0 ? target.code : -EINVAL;
	/* "{...}" behind our members becomes ",...". */
	batch->bytes[brace] = ',';
	batch->length--;
	return 0;
}

static int add_line(struct audit_batch *batch, const struct audit_stamp *stamp,
	const struct secret *key, json_t *record, struct audit_head *head)
{
	const size_t start = batch->length;
	/* The brace that goes makes room for the '\n'. */
	const size_t limit = start + AUDIT_LINE_MAX_BYTES - AUDIT_LINE_TAIL_BYTES;
	char tail[AUDIT_LINE_TAIL_BYTES + 2];
	int r;

	r = add_body(batch, stamp, head->seq + 1, record, limit);
	if (r < 0)
		return r;
	audit_chain_mac(key, head->mac, batch->bytes + start, batch->length - start, head->mac);
	audit_chain_tail(head->mac, tail);
	tail[AUDIT_LINE_TAIL_BYTES] = '\n';
	r = add_bytes(batch, tail, AUDIT_LINE_TAIL_BYTES + 1);
	if (r == 0)
		head->seq++;
	return r;
}

int audit_batch_add(struct audit_batch *batch, const struct audit_stamp *stamp,
	const struct secret *key, json_t *record, struct audit_head *head, struct mayfly_error *err)
{
	const size_t start = batch->length;
	struct audit_head next = *head;
	int r;

	r = check_record(record, err);
	if (r < 0)
		return r;
	r = add_line(batch, stamp, key, record, &next);
	if (r < 0) {
		batch->length = start;
		return error_errno(
			err, r, "write an audit record of at most %zu bytes", AUDIT_LINE_MAX_BYTES);
	}
	*head = next;
	return 0;
}

void audit_batch_done(struct audit_batch *batch)
{
	free(batch->bytes);
	*batch = (struct audit_batch){ 0 };
}
