#include "daemon/broker/audit/audit_state.h"

#include "proto/cleanup.h"
#include "proto/json_member.h"

#include <errno.h>
#include <string.h>

/* One way through the records: to count them, or to hand them out. */
struct read_pass {
	const struct audit_view *view;
	const struct audit_filter *filter;
	uint64_t after;
	uint64_t skip; /* fitting records that are passed over first */
	uint64_t fitting;
	bool (*on_record)(json_t *record, void *data); /* NULL: count only */
	void *data;
	bool is_over; /* ON_RECORD has had enough */
};

static void json_decref_p(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

/* Compares times as text. Without the Z, else "12:00:00.5Z" would come before "12:00:00Z". */
static int compare_times(const char *time, const char *limit)
{
	const size_t time_length = strcspn(time, "Z"), limit_length = strcspn(limit, "Z");
	const size_t shorter = time_length < limit_length ? time_length : limit_length;
	const int order = memcmp(time, limit, shorter);

	return order != 0 ? order : (time_length > limit_length) - (time_length < limit_length);
}

static bool names_secret(json_t *object, const char *reference)
{
	const char *const set = json_text(object, "set"), *const name = json_text(object, "name");
	const size_t length = strlen(set);

	return length > 0 && strncmp(reference, set, length) == 0 && reference[length] == '/' &&
	       strcmp(reference + length + 1, name) == 0;
}

static bool fits_secret(json_t *record, const char *reference)
{
	json_t *item;
	size_t i;

	if (names_secret(record, reference))
		return true;
	json_array_foreach (json_object_get(record, "secrets"), i, item)
		if (names_secret(item, reference))
			return true;
	return false;
}

static bool fits_container(json_t *record, const char *container)
{
	const size_t length = strlen(container);

	if (strcmp(json_text(record, "container"), container) == 0)
		return true;
	return length > 0 && strncmp(json_text(record, "container_id"), container, length) == 0;
}

bool audit_filter_fits(const struct audit_filter *filter, json_t *record)
{
	const char *const time = json_text(record, "time");

	if (filter->since && compare_times(time, filter->since) < 0)
		return false;
	if (filter->until && compare_times(time, filter->until) >= 0)
		return false;
	if (filter->action && strcmp(json_text(record, "action"), filter->action) != 0)
		return false;
	if (filter->refused_only && strcmp(json_text(record, "decision"), "refused") != 0)
		return false;
	if (filter->secret && !fits_secret(record, filter->secret))
		return false;
	return !filter->container || fits_container(record, filter->container);
}

static bool fits_everything(const struct audit_filter *filter)
{
	return !filter->since && !filter->until && !filter->action && !filter->refused_only &&
	       !filter->secret && !filter->container;
}

/* 1 when the line fits, with *RET_RECORD, which stays NULL when the pass needs none; 0; or
 * -EBADMSG. */
static int look_at_line(
	struct read_pass *pass, const char *text, size_t length, json_t **ret_record)
{
	MAYFLY_CLEANUP(json_decref_p) json_t *record = NULL;
	struct audit_line line;

	if (!audit_line_parse(text, length, &line))
		return -EBADMSG;
	if (line.seq <= pass->after)
		return 0;
	if (!pass->on_record && fits_everything(pass->filter))
		return 1;
	/* Strings may hold NUL: what a caller records is not always what it chose. */
	record = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	if (!record)
		return -EBADMSG;
	if (!audit_filter_fits(pass->filter, record))
		return 0;
	*ret_record = ptr_take(&record);
	return 1;
}

static int read_line(struct read_pass *pass, const char *text, size_t length)
{
	MAYFLY_CLEANUP(json_decref_p) json_t *record = NULL;
	const int r = look_at_line(pass, text, length, &record);

	if (r <= 0)
		return r;
	pass->fitting++;
	if (pass->on_record && pass->fitting > pass->skip)
		pass->is_over = !pass->on_record(record, pass->data);
	return 0;
}

static int read_segment(struct read_pass *pass, size_t index, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(lines_done) struct lines_reader reader = LINES_EMPTY;
	const char *text;
	size_t length;
	int r;

	r = audit_view_lines(pass->view, index, &reader, err);
	if (r == 0 && pass->after > 0)
		r = audit_lines_seek(&reader, pass->after, err);
	while (r == 0 && !pass->is_over) {
		r = lines_next(&reader, &text, &length, err);
		if (r <= 0)
			break;
		r = r == LINES_WHOLE ? read_line(pass, text, length) : -EBADMSG;
		if (r < 0)
			return error_set(err, r,
				"read '%s': what is at byte %jd is no audit record (see `audit "
				"verify`)",
				pass->view->segments[index].name, (intmax_t)reader.offset);
	}
	return r;
}

/* Counts from the newest segment backwards until LAST records fit: where to start, and how many of
 * that segment to pass over. So no record waits in memory for the ones behind it. */
static int find_last(struct read_pass *pass, size_t first, uint64_t last, size_t *ret_start,
	struct mayfly_error *err)
{
	size_t index = pass->view->count;

	pass->fitting = 0;
	while (index > first && pass->fitting < last) {
		const int r = read_segment(pass, --index, err);

		if (r < 0)
			return r;
	}
	pass->skip = pass->fitting > last ? pass->fitting - last : 0;
	pass->fitting = 0;
	*ret_start = index;
	return 0;
}

int audit_read(struct audit *audit, uint64_t after, const struct audit_filter *filter,
	bool (*on_record)(json_t *record, void *data), void *data, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_view_done) struct audit_view view = AUDIT_VIEW_EMPTY;
	struct read_pass pass = { .view = &view, .filter = filter, .after = after, .data = data };
	struct audit_head head;
	size_t start;
	int r;

	r = audit_look(audit, &view, &head, NULL, err);
	if (r < 0)
		return r;
	start = audit_view_find(&view, after == UINT64_MAX ? after : after + 1);
	if (filter->last > 0)
		r = find_last(&pass, start, filter->last, &start, err);
	pass.on_record = on_record;
	for (size_t i = start; r == 0 && i < view.count && !pass.is_over; i++)
		r = read_segment(&pass, i, err);
	return r;
}
