#include "daemon/broker/audit/audit_state.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

struct verify_walk {
	const struct audit_view *view;
	struct audit_key key; /* of the epoch that the walk has reached */
	uint64_t last_epoch;  /* the present one */
	struct audit_head head;
	struct audit_report report;
};

/* Of a line whose mac fits: so the time is ours, and shorter than SIZE. */
static void copy_time(char *ret_time, size_t size, const struct audit_line *line)
{
	(void)snprintf(ret_time, size, "%.*s", (int)line->time_length, line->time);
}

/* NULL when TEXT is the walk's next record; else what is wrong with it. */
static const char *verify_line(struct verify_walk *walk, const char *text, size_t length)
{
	struct audit_line line;
	const char *wrong;

	if (!audit_line_parse(text, length, &line))
		return "it is no audit record";
	if (line.epoch < walk->key.epoch)
		return "its epoch is older than that of the record before it";
	if (line.epoch > walk->last_epoch)
		return "its epoch has not begun";
	for (; walk->key.epoch < line.epoch; walk->key.epoch++)
		audit_chain_ratchet(&walk->key.key);
	wrong = audit_chain_check(&walk->key.key, &walk->head, &line);
	if (wrong)
		return wrong;
	walk->head = audit_line_head(&line);
	walk->report.records++;
	if (walk->report.records == 1)
		copy_time(walk->report.first_time, sizeof walk->report.first_time, &line);
	copy_time(walk->report.last_time, sizeof walk->report.last_time, &line);
	return NULL;
}

static int verify_segment(struct verify_walk *walk, size_t index, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(lines_done) struct lines_reader reader = LINES_EMPTY;
	const struct audit_segment *const segment = &walk->view->segments[index];
	const char *text;
	size_t length;
	int r;

	r = audit_view_lines(walk->view, index, &reader, err);
	if (r < 0)
		return r;
	if (segment->first_seq != walk->head.seq + 1)
		return error_set(err, -EBADMSG,
			"%s: record %ju should come first, by its name it is %ju", segment->name,
			(uintmax_t)(walk->head.seq + 1), (uintmax_t)segment->first_seq);
	while ((r = lines_next(&reader, &text, &length, err)) > 0) {
		const char *const wrong =
			r == LINES_WHOLE ? verify_line(walk, text, length) : "it is not whole";

		if (wrong)
			return error_set(err, -EBADMSG, "%s, line %ju: %s", segment->name,
				(uintmax_t)reader.number, wrong);
	}
	return r < 0 ? error_within(err, "%s", segment->name) : 0;
}

/* The first key must lead to the present one: else it is another chain's, and every record would
 * look as if it had been changed. */
static int check_first_key(
	const struct audit_key *first, const struct audit_key *present, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_key_done) struct audit_key key = { 0 };
	int r;

	r = audit_key_copy(first, &key, err);
	if (r < 0)
		return r;
	for (; key.epoch < present->epoch; key.epoch++)
		audit_chain_ratchet(&key.key);
	if (!secret_equal(&key.key, &present->key))
		return error_set(err, -EBADMSG,
			"the first key does not lead to the present key: it is of another chain "
			"(was the directory 'audit' replaced?)");
	return 0;
}

static int check_end(
	const struct verify_walk *walk, const struct audit_head *head, struct mayfly_error *err)
{
	if (walk->head.seq != head->seq)
		return error_set(err, -EBADMSG,
			"the records end with %ju, this process wrote up to %ju",
			(uintmax_t)walk->head.seq, (uintmax_t)head->seq);
	if (sodium_memcmp(walk->head.mac, head->mac, sizeof head->mac) != 0)
		return error_set(err, -EBADMSG, "the last record is not what this process wrote");
	return 0;
}

int audit_verify(struct audit *audit, const struct secret *first_key,
	struct audit_report *ret_report, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_view_done) struct audit_view view = AUDIT_VIEW_EMPTY;
	MAYFLY_CLEANUP(audit_key_done) struct audit_key present = { 0 };
	const struct audit_key first = { .key = *first_key };
	struct verify_walk walk = { .view = &view };
	struct audit_head head;
	int r;

	if (first_key->length != AUDIT_KEY_BYTES)
		return error_set(err, -EINVAL, "a first key has %d bytes", AUDIT_KEY_BYTES);
	r = audit_look(audit, &view, &head, &present, err);
	if (r == 0)
		r = check_first_key(&first, &present, err);
	if (r == 0)
		r = audit_key_copy(&first, &walk.key, err);
	walk.last_epoch = present.epoch;
	for (size_t i = 0; r == 0 && i < view.count; i++)
		r = verify_segment(&walk, i, err);
	if (r == 0)
		r = check_end(&walk, &head, err);
	if (r == 0) {
		*ret_report = walk.report;
		ret_report->head_seq = walk.head.seq;
		(void)sodium_bin2hex(ret_report->head_mac, sizeof ret_report->head_mac,
			walk.head.mac, sizeof walk.head.mac);
	}
	audit_key_done(&walk.key);
	return r;
}
