/* What a record costs beside the bare write: 10,000 appends of one record, and between them as many
 * writes of as many bytes with fdatasync to another file. Run it on the disk that is asked about
 * (TMPDIR). */
#include "daemon/broker/audit/audit_state.h"

#include "proto/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define APPENDS 10000

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static json_t *make_record(void)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:{s:i,s:i},s:s}", "action", "release",
		"decision", "granted", "container", "shop-web-1", "container_id",
		"4f1c2a6b8d0e4f1c2a6b8d0e4f1c2a6b8d0e4f1c2a6b8d0e4f1c2a6b8d0e4f1c", "engine",
		"docker", "set", "prod", "name", "db-password", "version", 3, "actor", "uid", 1000,
		"pid", 4711, "reason", "grant shop-web: image and posture match");
}

static double append_s(struct audit *audit, json_t *record)
{
	const double start = now_s();

	if (audit_append(audit, &record, 1, NULL) != 0)
		abort();
	return now_s() - start;
}

static double bare_s(int fd, size_t length, off_t offset)
{
	static const char line[4096];
	const double start = now_s();

	if (pwrite(fd, line, length, offset) != (ssize_t)length || fdatasync(fd) != 0)
		abort();
	return now_s() - start;
}

static void remove_chain(const char *directory)
{
	static const char *const names[] = { "audit/audit.jsonl", "audit/audit.key",
		"audit/first.key", "audit", "" };
	char path[512];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
		/* What stays is left to whoever cleans TMPDIR. */
		(void)remove(path);
	}
}

int main(void)
{
	const char *const top = getenv("TMPDIR");
	double appends_s = 0, writes_s = 0;
	json_t *const record = make_record();
	char directory[256];
	size_t length = 0;
	struct arena *arena;
	struct audit *audit;
	off_t end = 0;
	AUTO_FD fd = -1;

	(void)snprintf(directory, sizeof directory, "%s/audit-bench-XXXXXX", top ? top : "/tmp");
	if (!mkdtemp(directory) || arena_new((size_t)1 << 20, &arena, NULL) != 0 ||
		audit_open(directory, arena, &audit, NULL) != 0)
		return 1;
	/* Without a name, and on the same file system. */
	fd = open(directory, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	for (int i = 0; i < APPENDS; i++) {
		const int64_t before = audit->file.size;

		appends_s += append_s(audit, record);
		length = (size_t)(audit->file.size - before);
		writes_s += bare_s(fd, length, end);
		end += (off_t)length;
	}
	(void)printf("%d appends of %zu bytes: %.3f s, bare write and fdatasync: %.3f s, "
		     "%.3f times\n",
		APPENDS, length, appends_s, writes_s, appends_s / writes_s);
	json_decref(record);
	audit_close(audit);
	remove_chain(directory);
	arena_free(arena);
	return 0;
}
