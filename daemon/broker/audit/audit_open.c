#include "daemon/broker/audit/audit_state.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

#define START_AGAIN                                                                       \
	". Put back what is missing, or move the directory 'audit' to a safe place (the " \
	"first key in the store still verifies its records) and start again: a new "      \
	"chain begins, with a new first key"

static void audit_close_p(struct audit **audit)
{
	audit_close(*audit);
	*audit = NULL;
}

/* Opens DIRECTORY/audit, which is made when it is not there. */
static int open_directory(const char *directory, int *ret_fd, struct mayfly_error *err)
{
	AUTO_FD parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD fd = -1;
	struct stat status;

	if (parent < 0)
		return error_errno(err, -errno, "open '%s'", directory);
	if (mkdirat(parent, "audit", 0700) != 0 && errno != EEXIST)
		return error_errno(err, -errno, "create '%s/audit'", directory);
	/* Also when it was there: an earlier process may have been stopped between the two. */
	if (fsync(parent) != 0)
		return error_errno(err, -errno, "create '%s/audit' on the disk", directory);
	fd = openat(parent, "audit", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &status) != 0)
		return error_errno(err, -errno, "open '%s/audit'", directory);
	if ((status.st_mode & 022) != 0 || status.st_uid != geteuid())
		return error_set(err, -EPERM,
			"open '%s/audit': others may write there; it must be ours, with mode 0700",
			directory);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return error_errno(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
			"lock '%s/audit' (does another broker write there?)", directory);
	*ret_fd = fd_take(&fd);
	return 0;
}

static int read_boot_id(char ret_boot[37], struct mayfly_error *err)
{
	AUTO_FD fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	char boot[37] = { 0 };

	if (fd < 0)
		return error_errno(err, -errno, "open '%s'", BOOT_ID_FILE);
	if (read(fd, boot, 36) != 36 || strspn(boot, "0123456789abcdef-") != 36)
		return error_set(err, -EBADMSG, "read '%s': it is no boot id", BOOT_ID_FILE);
	memcpy(ret_boot, boot, sizeof boot);
	return 0;
}

/* 1 when NAME was loaded as the present key, 0 when it is not there. */
static int load_if_there(struct audit *audit, const char *name, struct mayfly_error *err)
{
	struct mayfly_error why;
	const int r = audit_key_load(audit->directory, name, audit->arena, &audit->key, &why);

	if (r == 0)
		return 1;
	return r == -ENOENT ? 0 : error_set(err, r, "%s", why.text);
}

/* Without records and without audit.key a chain begins: with first.key, if an earlier process came
 * no further, else with a random key. */
static int begin_chain(struct audit *audit, struct mayfly_error *err)
{
	int r;

	r = load_if_there(audit, AUDIT_FIRST_FILE, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = audit_key_make(audit->arena, &audit->key, err);
	if (r < 0)
		return r;
	return audit_key_store(&audit->key, audit->directory, AUDIT_FIRST_FILE, err);
}

static int has_records(struct audit *audit, bool *ret_has, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_view_done) struct audit_view view = AUDIT_VIEW_EMPTY;
	struct audit_file file = { .fd = -1 };
	int r;

	r = audit_file_open(&file, audit->directory, err);
	if (r == 0)
		r = audit_view_make(audit->directory, -1, 0, &view, err);
	if (r == 0)
		*ret_has = view.count > 0 || file.size > 0;
	audit_file_done(&file);
	return r;
}

static int load_key(struct audit *audit, struct mayfly_error *err)
{
	bool has = false;
	int r;

	r = load_if_there(audit, AUDIT_KEY_FILE, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = has_records(audit, &has, err);
	if (r < 0)
		return r;
	if (has)
		return error_set(
			err, -EBADMSG, "there are records, but '%s' is missing", AUDIT_KEY_FILE);
	return begin_chain(audit, err);
}

/* The record that says that the end of the file was cut off. */
static int note_torn(struct audit *audit, int64_t torn_bytes, struct mayfly_error *err)
{
	json_t *const record = json_pack("{s:s,s:s,s:I,s:s}", "action", "audit-cut", "decision",
		"done", "bytes", (json_int_t)torn_bytes, "reason",
		"the last write before this start was not finished; it was never acknowledged");
	int r;

	if (!record)
		return error_errno(err, -ENOMEM, "note a torn write");
	r = audit_append(audit, &record, 1, err);
	json_decref(record);
	return r;
}

static int take_up(struct audit *audit, struct mayfly_error *err)
{
	struct mayfly_error why;
	int64_t torn_bytes = 0;
	int r;

	r = load_key(audit, &why);
	if (r == 0)
		r = audit_resume(audit, &torn_bytes, &why);
	if (r < 0)
		return error_set(err, r, "%s%s", why.text, r == -EBADMSG ? START_AGAIN : "");
	r = audit_ratchet(audit, err);
	if (r < 0)
		return r;
	audit_publish_head(audit);
	return torn_bytes > 0 ? note_torn(audit, torn_bytes, err) : 0;
}

static struct audit *audit_alloc(struct arena *arena)
{
	struct audit *audit = calloc(1, sizeof *audit);

	if (!audit)
		return NULL;
	audit->directory = -1;
	audit->file.fd = -1;
	audit->arena = arena;
	audit->segment_max_bytes = AUDIT_SEGMENT_MAX_BYTES;
	audit->epoch_max_records = AUDIT_EPOCH_MAX_RECORDS;
	audit->epoch_max_ms = AUDIT_EPOCH_MAX_MS;
	/* On Linux these two cannot fail for default attributes. */
	(void)pthread_mutex_init(&audit->writing, NULL);
	(void)pthread_mutex_init(&audit->publishing, NULL);
	return audit;
}

int audit_open(const char *directory, struct arena *arena, struct audit **ret_audit,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_close_p) struct audit *audit = audit_alloc(arena);
	int r;

	if (!audit)
		return error_errno(err, -ENOMEM, "open the audit chain");
	if (sodium_init() < 0)
		return error_set(err, -EIO, "start libsodium");
	r = open_directory(directory, &audit->directory, err);
	if (r == 0)
		r = read_boot_id(audit->boot, err);
	if (r == 0)
		r = take_up(audit, err);
	if (r < 0)
		return error_within(err, "open the audit chain in '%s'", directory);
	*ret_audit = ptr_take(&audit);
	return 0;
}

void audit_close(struct audit *audit)
{
	if (!audit)
		return;
	audit_key_done(&audit->key);
	audit_file_done(&audit->file);
	fd_close_p(&audit->directory);
	(void)pthread_mutex_destroy(&audit->publishing);
	(void)pthread_mutex_destroy(&audit->writing);
	free(audit);
}

int audit_first_key(struct audit *audit, struct secret *ret_key, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_key_done) struct audit_key key = { 0 };
	const int r = audit_key_load(audit->directory, AUDIT_FIRST_FILE, audit->arena, &key, err);

	if (r < 0)
		return r;
	*ret_key = secret_take(&key.key);
	return 0;
}

int audit_first_key_sealed(struct audit *audit, struct mayfly_error *err)
{
	return audit_key_erase(audit->directory, AUDIT_FIRST_FILE, err);
}
