#include "daemon/broker/audit/audit_state.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <string.h>

/* Goes from the record that the key builds on (its anchor) to the last one. */
struct resume_walk {
	const struct audit_key *key;
	const char *name; /* of the segment */
	bool is_present;  /* it is the one that was being written */
	bool is_at_anchor;
	struct audit_head head;
	int64_t end; /* in the present segment: of the last good record */
	bool is_torn;
};

static int fault(const struct resume_walk *walk, const char *what, struct mayfly_error *err)
{
	return error_set(err, -EBADMSG, "read '%s' behind record %ju: %s", walk->name,
		(uintmax_t)walk->head.seq, what);
}

/* Decides about a line that is no good. What a stop in the middle of a write leaves over has no
 * '\n' or, where blocks of a batch reached the disk in another order, zeros; no record has zeros.
 * Only such a line is taken as torn. Anything else was a record once, and is never cut off. */
static int on_bad_line(struct resume_walk *walk, int found, const char *text, size_t length,
	const char *what, struct mayfly_error *err)
{
	const bool is_torn = found == LINES_BROKEN || memchr(text, '\0', length);

	if (!walk->is_present || !is_torn)
		return fault(walk, what, err);
	walk->is_torn = true;
	return 0;
}

/* A line at or before the anchor. */
static int on_old_line(
	struct resume_walk *walk, const struct audit_line *line, struct mayfly_error *err)
{
	const struct audit_head *const anchor = &walk->key->anchor;

	if (line->seq < anchor->seq)
		return 0;
	if (line->seq > anchor->seq || memcmp(line->mac, anchor->mac, sizeof anchor->mac) != 0)
		return error_set(err, -EBADMSG,
			"find record %ju, which the key follows: '%s' has another one in its place "
			"(the key is of another chain, or the records were changed)",
			(uintmax_t)anchor->seq, walk->name);
	walk->is_at_anchor = true;
	walk->head = *anchor;
	return 0;
}

static const char *check_line(const struct resume_walk *walk, const struct audit_line *line)
{
	if (line->epoch > walk->key->epoch)
		return "the key is older than this record (was it put back from a copy?)";
	if (line->epoch < walk->key->epoch)
		return "its epoch has passed";
	return audit_chain_check(&walk->key->key, &walk->head, line);
}

static int walk_lines(
	struct resume_walk *walk, struct lines_reader *reader, struct mayfly_error *err)
{
	const char *text;
	size_t length;
	int r;

	while ((r = lines_next(reader, &text, &length, err)) > 0) {
		struct audit_line line;
		const char *wrong = "it is no audit record";

		if (r == LINES_WHOLE && audit_line_parse(text, length, &line)) {
			if (!walk->is_at_anchor) {
				r = on_old_line(walk, &line, err);
				if (r < 0)
					return r;
				continue;
			}
			wrong = check_line(walk, &line);
			if (!wrong) {
				walk->head = audit_line_head(&line);
				continue;
			}
		}
		walk->end = reader->offset;
		return on_bad_line(walk, r, text, length, wrong, err);
	}
	walk->end = reader->end;
	return r;
}

static int walk_segment(struct resume_walk *walk, const struct audit_view *view, size_t index,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(lines_done) struct lines_reader reader = LINES_EMPTY;
	int r;

	walk->name = view->segments[index].name;
	walk->is_present = audit_view_is_present(view, index);
	r = audit_view_lines(view, index, &reader, err);
	if (r == 0 && !walk->is_at_anchor && walk->key->anchor.seq > 0)
		r = audit_lines_seek(&reader, walk->key->anchor.seq - 1, err);
	if (r == 0)
		r = walk_lines(walk, &reader, err);
	return r;
}

static int walk_view(
	struct resume_walk *walk, const struct audit_view *view, struct mayfly_error *err)
{
	size_t index = audit_view_find(view, walk->key->anchor.seq);
	int r = 0;

	for (; r == 0 && index < view->count; index++)
		r = walk_segment(walk, view, index, err);
	if (r == 0 && !walk->is_at_anchor)
		return error_set(err, -EBADMSG,
			"find record %ju, which the key follows: it is missing, the records end "
			"before it",
			(uintmax_t)walk->key->anchor.seq);
	return r;
}

/* Where the next record goes. */
static int set_end(struct audit *audit, const struct audit_view *view,
	const struct resume_walk *walk, struct mayfly_error *err)
{
	audit->head = walk->head;
	audit->file.first_seq = audit->head.seq + 1;
	if (audit->file.fd < 0)
		return 0;
	audit->file.has_rest = walk->is_torn;
	audit->file.size = walk->end;
	if (walk->end > 0)
		audit->file.first_seq = view->segments[view->count - 1].first_seq;
	if (audit->file.first_seq > audit->head.seq + 1)
		return error_set(err, -EBADMSG, "read '%s': line 1 is no audit record", AUDIT_FILE);
	return 0;
}

int audit_resume(struct audit *audit, int64_t *ret_torn_bytes, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_view_done) struct audit_view view = AUDIT_VIEW_EMPTY;
	struct resume_walk walk = {
		.key = &audit->key,
		.is_at_anchor = audit->key.anchor.seq == 0,
	};
	int r;

	r = audit_file_open(&audit->file, audit->directory, err);
	if (r < 0)
		return r;
	r = audit_view_make(audit->directory, audit->file.fd, audit->file.size, &view, err);
	if (r == 0)
		r = audit_view_date_present(&view, err);
	if (r == 0)
		r = walk_view(&walk, &view, err);
	if (r < 0)
		return r;
	*ret_torn_bytes = walk.is_torn ? audit->file.size - walk.end : 0;
	return set_end(audit, &view, &walk, err);
}
