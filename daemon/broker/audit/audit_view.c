#include "daemon/broker/audit/audit_view.h"

#include "daemon/broker/audit/audit_chain.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Below this distance lines are read one by one. */
#define SEEK_STOP_BYTES ((int64_t)64 * 1024)

static void directory_close_p(DIR **directory)
{
	if (*directory)
		/* Nothing was written through it. */
		(void)closedir(*directory);
}

/* Our names only, in their one spelling. */
static bool parse_name(const char *name, struct audit_segment *ret_segment)
{
	struct audit_segment segment = { 0 };

	if (sscanf(name, "audit-%20" SCNu64, &segment.first_seq) != 1)
		return false;
	/* Fits: 20 digits and 12 other characters. */
	(void)snprintf(segment.name, sizeof segment.name, AUDIT_SEGMENT_FORMAT,
		(uintmax_t)segment.first_seq);
	if (strcmp(segment.name, name) != 0 || segment.first_seq == UINT64_MAX)
		return false;
	*ret_segment = segment;
	return true;
}

static int add_segment(struct audit_view *view, const struct audit_segment *segment)
{
	struct audit_segment *const larger =
		reallocarray(view->segments, view->count + 1, sizeof *larger);

	if (!larger)
		return -ENOMEM;
	view->segments = larger;
	view->segments[view->count++] = *segment;
	return 0;
}

static int compare_segments(const void *a, const void *b)
{
	const struct audit_segment *const left = a, *const right = b;

	return (left->first_seq > right->first_seq) - (left->first_seq < right->first_seq);
}

static int list_older(struct audit_view *view)
{
	AUTO_FD fd = openat(view->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MAYFLY_CLEANUP(directory_close_p) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!directory)
		return -errno;
	(void)fd_take(&fd);
	errno = 0;
	while ((entry = readdir(directory))) {
		struct audit_segment segment;

		if (parse_name(entry->d_name, &segment)) {
			const int r = add_segment(view, &segment);

			if (r < 0)
				return r;
		}
		errno = 0;
	}
	return -errno;
}

int audit_view_make(int directory, int present, int64_t present_bytes, struct audit_view *ret_view,
	struct mayfly_error *err)
{
	const struct audit_segment last = { .first_seq = UINT64_MAX, .name = AUDIT_FILE };
	MAYFLY_CLEANUP(audit_view_done)
	struct audit_view view = {
		.directory = directory,
		.present = -1,
		.present_bytes = present_bytes,
	};
	int r;

	r = list_older(&view);
	if (r < 0)
		return error_errno(err, r, "list the audit segments");
	if (view.count > 0)
		qsort(view.segments, view.count, sizeof *view.segments, compare_segments);
	if (present >= 0) {
		view.present = fcntl(present, F_DUPFD_CLOEXEC, 0);
		if (view.present < 0)
			return error_errno(err, -errno, "open '%s' again", AUDIT_FILE);
		r = add_segment(&view, &last);
		if (r < 0)
			return error_errno(err, r, "list the audit segments");
	}
	*ret_view = view;
	view = (struct audit_view)AUDIT_VIEW_EMPTY;
	return 0;
}

void audit_view_done(struct audit_view *view)
{
	free(view->segments);
	fd_close_p(&view->present);
	*view = (struct audit_view)AUDIT_VIEW_EMPTY;
}

bool audit_view_is_present(const struct audit_view *view, size_t index)
{
	return view->present >= 0 && index + 1 == view->count;
}

size_t audit_view_find(const struct audit_view *view, uint64_t seq)
{
	size_t index = 0;

	while (index + 1 < view->count && view->segments[index + 1].first_seq <= seq)
		index++;
	return index;
}

int audit_view_lines(const struct audit_view *view, size_t index, struct lines_reader *ret_reader,
	struct mayfly_error *err)
{
	const char *const name = view->segments[index].name;
	const bool is_present = audit_view_is_present(view, index);
	struct stat status;
	AUTO_FD fd = -1;

	if (is_present)
		fd = fcntl(view->present, F_DUPFD_CLOEXEC, 0);
	else
		fd = openat(view->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) != 0)
		return error_errno(err, -errno, "open '%s'", name);
	if (!S_ISREG(status.st_mode))
		return error_set(err, -EBADMSG, "open '%s': it is no file", name);
	return lines_open(ret_reader, fd_take(&fd), 0,
		is_present ? view->present_bytes : status.st_size, err);
}

int audit_view_date_present(struct audit_view *view, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(lines_done) struct lines_reader reader = LINES_EMPTY;
	struct audit_line line;
	const char *text;
	size_t length;
	int r;

	if (view->present < 0)
		return 0;
	r = audit_view_lines(view, view->count - 1, &reader, err);
	if (r == 0)
		r = lines_next(&reader, &text, &length, err);
	if (r == LINES_WHOLE && audit_line_parse(text, length, &line))
		view->segments[view->count - 1].first_seq = line.seq;
	return r < 0 ? r : 0;
}

/* The first record that starts behind OFFSET: 1 and its seq and place, or 0 when there is none. */
static int record_behind(struct lines_reader *reader, int64_t offset, uint64_t *ret_seq,
	int64_t *ret_offset, struct mayfly_error *err)
{
	struct audit_line line;
	const char *text;
	size_t length;
	int r;

	lines_move(reader, offset);
	r = lines_next(reader, &text, &length, err);
	if (r == LINES_WHOLE)
		r = lines_next(reader, &text, &length, err);
	if (r < 0)
		return r;
	if (r != LINES_WHOLE || !audit_line_parse(text, length, &line))
		return 0;
	*ret_seq = line.seq;
	*ret_offset = reader->offset;
	return 1;
}

int audit_lines_seek(struct lines_reader *reader, uint64_t seq, struct mayfly_error *err)
{
	int64_t low = 0, high = reader->end;

	while (high - low > SEEK_STOP_BYTES) {
		const int64_t middle = low + (high - low) / 2;
		uint64_t seq_there = 0;
		int64_t start = 0;
		const int r = record_behind(reader, middle, &seq_there, &start, err);

		if (r < 0)
			return r;
		if (r > 0 && start < high && seq_there <= seq)
			low = start;
		else
			high = middle;
	}
	lines_move(reader, low);
	return 0;
}
