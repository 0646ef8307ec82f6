/* The audit file as somebody may have left it: taken apart line by line, and searched. */
#include "daemon/broker/audit/audit_chain.h"
#include "daemon/broker/audit/audit_view.h"
#include "proto/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>

/* There is one spelling of a record: what is parsed is found again as it stands. */
static void check_line(const char *text, size_t length)
{
	struct audit_line line;
	char begin[64], tail[AUDIT_LINE_TAIL_BYTES + 1];

	if (!audit_line_parse(text, length, &line))
		return;
	assert(line.body_length + AUDIT_LINE_TAIL_BYTES == length);
	audit_chain_tail(line.mac, tail);
	assert(memcmp(text + line.body_length, tail, AUDIT_LINE_TAIL_BYTES) == 0);
	(void)snprintf(begin, sizeof begin, "{\"seq\":%ju,\"time\":\"", (uintmax_t)line.seq);
	assert(strncmp(text, begin, strlen(begin)) == 0);
	assert(line.time >= text && line.time + line.time_length <= text + line.body_length);
}

static int read_all(struct lines_reader *reader, int64_t end)
{
	int64_t sum = reader->start;
	struct mayfly_error err;
	const char *text;
	size_t length;
	int r;

	while ((r = lines_next(reader, &text, &length, &err)) > 0) {
		assert(reader->offset == sum);
		sum += (int64_t)length + (r == LINES_WHOLE ? 1 : 0);
		check_line(text, length);
	}
	assert(r < 0 || sum == end);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct lines_reader reader = LINES_EMPTY;
	struct mayfly_error err;
	int fd = memfd_create("audit", MFD_CLOEXEC);

	assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	check_line((const char *)bytes, size);
	if (lines_open(&reader, fd, 0, (int64_t)size, &err) < 0)
		return 0;
	assert(read_all(&reader, (int64_t)size) == LINES_END);
	assert(audit_lines_seek(&reader, size % 7, &err) == 0);
	assert(read_all(&reader, (int64_t)size) == LINES_END);
	lines_done(&reader);
	return 0;
}
