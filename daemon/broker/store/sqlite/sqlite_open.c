#include "daemon/broker/store/sqlite/sqlite_db_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* A crafted row cannot make us allocate more than this. The largest honest one holds 1 MiB. */
#define ROW_MAX_BYTES ((int)4 * 1024 * 1024)

/* A broker that is being stopped may still hold the file. */
#define BUSY_WAIT_MS 500

/* The SQLite file header: https://www.sqlite.org/fileformat2.html#the_database_header */
#define HEADER_BYTES	      100
#define HEADER_MAGIC	      "SQLite format 3"
#define HEADER_USER_VERSION   60
#define HEADER_APPLICATION_ID 68

static void db_close_p(struct db **db)
{
	db_close(*db);
	*db = NULL;
}

/* Runs `PRAGMA SETTING` and compares what it answers with WANTED (NULL: anything). */
static int db_set(struct db *db, const char *setting, const char *wanted, struct mayfly_error *err)
{
	sqlite3_stmt *pragma = NULL;
	const char *answer;
	char sql[80];
	int r;

	(void)snprintf(sql, sizeof sql, "PRAGMA %s", setting);
	r = sqlite3_prepare_v2(db->handle, sql, -1, &pragma, NULL);
	if (r != SQLITE_OK)
		return db_failed(db, r, "look", err);
	r = db_next(db, pragma, "look", err);
	answer = r == 1 ? (const char *)sqlite3_column_text(pragma, 0) : NULL;
	if (r >= 0 && wanted && (!answer || strcmp(answer, wanted) != 0))
		r = error_set(err, -ENOTSUP, "%s in '%s': SQLite answers '%s'", sql, db->path,
			answer ? answer : "");
	/* Its result is that of the step. */
	(void)sqlite3_finalize(pragma);
	return r < 0 ? r : 0;
}

/* Some of it makes SQLite look into the file, and then replay its log. */
static int configure(struct db *db, struct mayfly_error *err)
{
	static const int switches[][2] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
		{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
		{ SQLITE_DBCONFIG_DQS_DDL, 0 },
		{ SQLITE_DBCONFIG_DQS_DML, 0 },
		/* A file that turns out not to be ours stays as it is. */
		{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
	};
	static const char *const settings[][2] = {
		{ "locking_mode = EXCLUSIVE", "exclusive" },
		{ "secure_delete = ON", "1" },
		{ "synchronous = FULL", NULL },
		{ "temp_store = MEMORY", NULL },
		/* A read error of the disk must be an error, not SIGBUS. */
		{ "mmap_size = 0", NULL },
		{ "cell_size_check = ON", NULL },
	};
	char cache[32];
	int r = 0;

	for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
		if (sqlite3_db_config(db->handle, switches[i][0], switches[i][1], NULL) !=
			SQLITE_OK)
			return error_set(err, -ENOTSUP, "this SQLite cannot be made safe");
	(void)sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, ROW_MAX_BYTES);
	(void)sqlite3_limit(db->handle, SQLITE_LIMIT_ATTACHED, 0);
	(void)sqlite3_busy_timeout(db->handle, BUSY_WAIT_MS);
	for (size_t i = 0; r == 0 && i < sizeof settings / sizeof settings[0]; i++)
		r = db_set(db, settings[i][0], settings[i][1], err);
	/* Last: it is the first that looks into the file, which is to be locked by then. */
	(void)snprintf(cache, sizeof cache, "cache_size = -%u", db->format->cache_kib);
	return r < 0 ? r : db_set(db, cache, NULL, err);
}

static int db_new(const char *directory, const char *suffix, const struct db_format *format,
	struct db **ret_db, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(db_close_p)
	struct db *db = calloc(1, sizeof *db + format->statement_count * sizeof db->statements[0]);

	if (!db)
		return error_errno(err, -ENOMEM, "open '%s'", format->file_name);
	db->format = format;
	if (asprintf(&db->path, "%s/%s%s", directory, format->file_name, suffix) < 0) {
		db->path = NULL;
		return error_errno(err, -ENOMEM, "open '%s'", format->file_name);
	}
	*ret_db = ptr_take(&db);
	return 0;
}

static int connect_to(
	struct db *db, const char *name, int flags, const char *vfs, struct mayfly_error *err)
{
	const int always = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	const int result = sqlite3_open_v2(name, &db->handle, flags | always, vfs);

	return result == SQLITE_OK ? 0 : db_failed(db, result, "look", err);
}

static void disconnect(struct db *db)
{
	/* Nothing was read or written yet. */
	(void)sqlite3_close(db->handle);
	db->handle = NULL;
}

/* "file:PATH?immutable=1" with everything quoted that a URI gives a meaning to. */
static char *immutable_uri(const char *path)
{
	static const char before[] = "file:", behind[] = "?immutable=1";
	char *uri = malloc(sizeof before + 3 * strlen(path) + sizeof behind), *end = uri;

	if (!uri)
		return NULL;
	end = stpcpy(end, before);
	for (const char *c = path; *c; c++)
		end += sprintf(end, strchr("%?#", *c) ? "%%%02X" : "%c", (unsigned char)*c);
	(void)stpcpy(end, behind);
	return uri;
}

/* A write-ahead log on a disk that cannot be written to: SQLite cannot lock such a file. With a log
 * beside it (the broker was killed) the file is read through the log without locks; without one
 * SQLite would want to make it, unless the file is called immutable.
 * Safe because what we cannot write is not ours to lock, and a record that another mount of the
 * same disk changes under our eyes does not open. */
static int connect_read_only(struct db *db, struct mayfly_error *err)
{
	AUTO_FREE char *log = NULL, *uri = NULL;

	disconnect(db);
	db->is_read_only = true;
	(void)snprintf(db->refusal, sizeof db->refusal,
		"'%s' is read-only: the file or its disk cannot be written to", db->path);
	if (asprintf(&log, "%s-wal", db->path) < 0) {
		log = NULL;
		return error_errno(err, -ENOMEM, "open '%s'", db->path);
	}
	if (access(log, F_OK) == 0)
		return connect_to(db, db->path, SQLITE_OPEN_READONLY, "unix-none", err);
	uri = immutable_uri(db->path);
	if (!uri)
		return error_errno(err, -ENOMEM, "open '%s'", db->path);
	return connect_to(db, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL, err);
}

static uint32_t header_number(const unsigned char *header, size_t offset)
{
	return (uint32_t)header[offset] << 24 | (uint32_t)header[offset + 1] << 16 |
	       (uint32_t)header[offset + 2] << 8 | header[offset + 3];
}

static int format_check(
	struct db *db, uint32_t application_id, uint32_t version, struct mayfly_error *err)
{
	const struct db_format *format = db->format;

	if (application_id != format->application_id)
		return error_set(err, -EUCLEAN,
			"'%s' is no %s of Mayfly: its application_id is 0x%08x, not 0x%08x",
			db->path, format->kind, application_id, format->application_id);
	if (version != format->version)
		return error_set(err, -EUCLEAN,
			"'%s' has version %u, this Mayfly knows version %u only", db->path, version,
			format->version);
	return 0;
}

/* Reads the header through SQLite's own descriptor: closing another one would drop its locks. This
 * happens before SQLite looks at the file, because it would replay a foreign file's journal. */
static int header_check(struct db *db, struct mayfly_error *err)
{
	unsigned char header[HEADER_BYTES];
	sqlite3_file *file = NULL;
	int result;

	result = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	if (result == SQLITE_OK)
		result = file->pMethods->xRead(file, header, sizeof header, 0);
	if (result == SQLITE_IOERR_SHORT_READ)
		return error_set(err, -EUCLEAN, "'%s' is cut off", db->path);
	if (result != SQLITE_OK)
		return db_failed(db, result, "read the header", err);
	if (memcmp(header, HEADER_MAGIC, sizeof HEADER_MAGIC) != 0)
		return error_set(err, -EUCLEAN, "'%s' is no %s of Mayfly: no SQLite file", db->path,
			db->format->kind);
	return format_check(db, header_number(header, HEADER_APPLICATION_ID),
		header_number(header, HEADER_USER_VERSION), err);
}

static int query_number(
	struct db *db, const char *sql, uint32_t *ret_number, struct mayfly_error *err)
{
	sqlite3_stmt *query = NULL;
	int r = sqlite3_prepare_v2(db->handle, sql, -1, &query, NULL);

	if (r != SQLITE_OK)
		return db_failed(db, r, "look", err);
	r = db_next(db, query, "look", err);
	if (r == 1)
		*ret_number = (uint32_t)sqlite3_column_int(query, 0);
	/* Its result is that of the step. */
	(void)sqlite3_finalize(query);
	return r == 1 ? 0 : r < 0 ? r : error_set(err, -EUCLEAN, "'%s' says nothing", db->path);
}

/* The same as in the header, seen through the log: a newer Mayfly may have been killed. */
static int format_check_logged(struct db *db, struct mayfly_error *err)
{
	uint32_t application_id, version;
	int r;

	r = query_number(db, "PRAGMA application_id", &application_id, err);
	if (r < 0)
		return r;
	r = query_number(db, "PRAGMA user_version", &version, err);
	if (r < 0)
		return r;
	return format_check(db, application_id, version, err);
}

static int schema_check(struct db *db, struct mayfly_error *err)
{
	const char *const *wanted = db->format->schema;
	sqlite3_stmt *read = NULL;
	bool same = true;
	int r;

	/* Indexes that SQLite made by itself have no text. */
	r = sqlite3_prepare_v2(db->handle,
		"SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid", -1, &read,
		NULL);
	if (r != SQLITE_OK)
		return db_failed(db, r, "read the schema", err);
	while ((r = db_next(db, read, "read the schema", err)) == 1 && same) {
		const char *text = (const char *)sqlite3_column_text(read, 0);

		same = *wanted && text && strcmp(text, *wanted) == 0;
		wanted += same;
	}
	/* Its result is that of the step. */
	(void)sqlite3_finalize(read);
	if (r < 0)
		return r;
	if (!same || *wanted)
		return error_set(err, -EUCLEAN, "'%s' has other tables than a %s", db->path,
			db->format->kind);
	return 0;
}

/* From here on the file is ours: closing it moves the log into it. */
static int use_log(struct db *db, struct mayfly_error *err)
{
	const int result = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);

	if (result != SQLITE_OK)
		return db_failed(db, result, "look", err);
	return db_set(db, "journal_mode = WAL", "wal", err);
}

static int prepare_statements(struct db *db, struct mayfly_error *err)
{
	for (size_t i = 0; i < db->format->statement_count; i++) {
		const int result = sqlite3_prepare_v3(db->handle, db->format->statements[i], -1,
			SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL);

		if (result != SQLITE_OK)
			return db_failed(db, result, "prepare a statement", err);
	}
	return 0;
}

static int require_regular_file(const struct db *db, struct mayfly_error *err)
{
	struct stat status;

	if (lstat(db->path, &status) != 0)
		return error_errno(err, -errno, "open '%s'", db->path);
	if (!S_ISREG(status.st_mode))
		return error_set(err, -EUCLEAN, "'%s' is no regular file", db->path);
	return 0;
}

int db_open(const char *directory, const struct db_format *format, struct db **ret_db,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(db_close_p) struct db *db = NULL;
	int r;

	r = db_new(directory, "", format, &db, err);
	if (r < 0)
		return r;
	r = require_regular_file(db, err);
	if (r < 0)
		return r;
	r = connect_to(db, db->path, SQLITE_OPEN_READWRITE, NULL, err);
	if (r == 0 && sqlite3_db_readonly(db->handle, "main") == 1)
		r = connect_read_only(db, err);
	if (r < 0)
		return r;
	r = header_check(db, err);
	if (r < 0)
		return r;
	r = configure(db, err);
	if (r < 0)
		return r;
	r = format_check_logged(db, err);
	if (r < 0)
		return r;
	r = schema_check(db, err);
	if (r < 0)
		return r;
	if (!db->is_read_only) {
		r = use_log(db, err);
		if (r < 0)
			return r;
	}
	r = prepare_statements(db, err);
	if (r < 0)
		return r;
	*ret_db = ptr_take(&db);
	return 0;
}

static int unlink_beside(const char *path, const char *suffix, struct mayfly_error *err)
{
	AUTO_FREE char *name = NULL;

	if (asprintf(&name, "%s%s", path, suffix) < 0) {
		name = NULL;
		return error_errno(err, -ENOMEM, "make '%s'", path);
	}
	if (unlink(name) != 0 && errno != ENOENT)
		return error_errno(err, -errno, "remove '%s', which is left over", name);
	return 0;
}

/* Logs that lost their file. SQLite would take them for those of the one that is being made. */
static int unlink_logs(const char *path, struct mayfly_error *err)
{
	static const char *const suffixes[] = { "-wal", "-journal", "-shm" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof suffixes / sizeof suffixes[0]; i++)
		r = unlink_beside(path, suffixes[i], err);
	return r;
}

static int write_schema(struct db *db, struct mayfly_error *err)
{
	char sql[80];
	int r;

	(void)snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
		(int)db->format->application_id, (int)db->format->version);
	r = db_execute(db, sql, "write the header", err);
	for (const char *const *create = db->format->schema; r == 0 && *create; create++)
		r = db_execute(db, *create, "make the tables", err);
	return r;
}

/* An empty file that nobody else may open; SQLite gives its logs the same mode. */
static int make_private_file(const char *path, struct mayfly_error *err)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	AUTO_FD fd = open(path, flags, 0600);

	return fd < 0 ? error_errno(err, -errno, "make '%s'", path) : 0;
}

static int fill_file(struct db *db,
	int (*fill)(struct db *db, void *context, struct mayfly_error *err), void *context,
	struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	int r;

	r = db_begin(db, &open, err);
	if (r < 0)
		return r;
	r = write_schema(db, err);
	if (r < 0)
		return r;
	r = prepare_statements(db, err);
	if (r < 0)
		return r;
	r = fill ? fill(db, context, err) : 0;
	if (r < 0)
		return r;
	return db_commit(&open, err);
}

static int sync_path(const char *path, int flags, struct mayfly_error *err)
{
	AUTO_FD fd = open(path, flags | O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		return error_errno(err, -errno, "sync '%s'", path);
	return 0;
}

/* Gives the finished file its name. From here on it is there for good. */
static int publish(
	const char *directory, const char *from, const char *to, struct mayfly_error *err)
{
	int r;

	r = sync_path(from, 0, err);
	if (r < 0)
		return r;
	r = unlink_logs(to, err);
	if (r < 0)
		return r;
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0)
		return error_errno(err, -errno, "make '%s'", to);
	return sync_path(directory, O_DIRECTORY, err);
}

static int build_file(struct db **db,
	int (*fill)(struct db *db, void *context, struct mayfly_error *err), void *context,
	struct mayfly_error *err)
{
	int r;

	r = unlink_beside((*db)->path, "", err);
	if (r < 0)
		return r;
	r = unlink_logs((*db)->path, err);
	if (r < 0)
		return r;
	r = make_private_file((*db)->path, err);
	if (r < 0)
		return r;
	r = connect_to(*db, (*db)->path, SQLITE_OPEN_READWRITE, NULL, err);
	if (r < 0)
		return r;
	r = configure(*db, err);
	if (r < 0)
		return r;
	r = fill_file(*db, fill, context, err);
	if (r < 0)
		return r;
	return use_log(*db, err);
}

/* Held while a file is made: who comes second sees the first one's, and does not take its log for
 * one that lost its file. Returns the descriptor or the error. */
static int lock_directory(const char *directory, struct mayfly_error *err)
{
	AUTO_FD fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) != 0)
		return error_errno(err, -errno, "lock '%s'", directory);
	return fd_take(&fd);
}

int db_create(const char *directory, const struct db_format *format,
	int (*fill)(struct db *db, void *context, struct mayfly_error *err), void *context,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(db_close_p) struct db *db = NULL;
	AUTO_FREE char *from = NULL, *to = NULL;
	AUTO_FD lock = lock_directory(directory, err);
	int r;

	if (lock < 0)
		return lock;
	if (asprintf(&to, "%s/%s", directory, format->file_name) < 0) {
		to = NULL;
		return error_errno(err, -ENOMEM, "make '%s'", format->file_name);
	}
	if (access(to, F_OK) == 0)
		return error_errno(err, -EEXIST, "make '%s'", to);
	r = db_new(directory, ".new", format, &db, err);
	if (r < 0)
		return r;
	from = strdup(db->path);
	if (!from)
		return error_errno(err, -ENOMEM, "make '%s'", to);
	r = build_file(&db, fill, context, err);
	db_close_p(&db);
	if (r == 0)
		r = publish(directory, from, to, err);
	if (r < 0) {
		/* The first error counts; the next try removes what is left. */
		(void)unlink(from);
		(void)unlink_logs(from, NULL);
	}
	return r;
}

struct db_copy {
	struct db *from, *to;
	sqlite3_backup *backup;
};

/* No more of the copy's file than its descriptor; what cannot be removed is removed by the next. */
static void unlink_copy(const struct db *db)
{
	(void)unlink(db->path);
	(void)unlink_logs(db->path, NULL);
}

void db_copy_free_p(struct db_copy **copy)
{
	if (!*copy)
		return;
	/* Its result is that of the last step. */
	(void)sqlite3_backup_finish((*copy)->backup);
	if ((*copy)->to)
		unlink_copy((*copy)->to);
	db_close((*copy)->to);
	free(*copy);
	*copy = NULL;
}

/* An empty file that is neither logged nor synced: a copy does not outlive us. */
static int begin_copy(struct db_copy *copy, struct mayfly_error *err)
{
	struct db *to = copy->to;
	int r;

	unlink_copy(to);
	r = make_private_file(to->path, err);
	if (r == 0)
		r = connect_to(to, to->path, SQLITE_OPEN_READWRITE, NULL, err);
	if (r == 0)
		r = db_set(to, "journal_mode = OFF", "off", err);
	if (r == 0)
		r = db_set(to, "synchronous = OFF", NULL, err);
	if (r < 0)
		return r;
	copy->backup = sqlite3_backup_init(to->handle, "main", copy->from->handle, "main");
	return copy->backup ? 0 : db_failed(to, sqlite3_errcode(to->handle), "copy", err);
}

int db_copy_new(
	struct db *db, const char *directory, struct db_copy **ret_copy, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(db_copy_free_p) struct db_copy *copy = calloc(1, sizeof *copy);
	int r;

	if (!copy)
		return error_errno(err, -ENOMEM, "copy '%s'", db->path);
	copy->from = db;
	r = db_new(directory, DB_COPY_SUFFIX, db->format, &copy->to, err);
	if (r == 0)
		r = begin_copy(copy, err);
	if (r == 0)
		*ret_copy = ptr_take(&copy);
	return r;
}

int db_copy_step(struct db_copy *copy, int pages, struct mayfly_error *err)
{
	const int result = sqlite3_backup_step(copy->backup, pages);

	if (result == SQLITE_OK)
		return 1;
	return result == SQLITE_DONE ? 0 : db_failed(copy->to, result, "copy", err);
}

int db_copy_open(struct db_copy *copy, struct db **ret_db, struct mayfly_error *err)
{
	struct db *db = copy->to;
	const int result = sqlite3_backup_finish(ptr_take(&copy->backup));
	int r;

	if (result != SQLITE_OK)
		return db_failed(db, result, "copy", err);
	disconnect(db);
	r = connect_to(db, db->path, SQLITE_OPEN_READWRITE, NULL, err);
	if (r == 0)
		r = configure(db, err);
	/* The file that it was copied from has a log beside it; this one will lose its name. */
	if (r == 0)
		r = db_set(db, "journal_mode = MEMORY", "memory", err);
	if (r == 0)
		r = prepare_statements(db, err);
	unlink_copy(db);
	if (r == 0)
		*ret_db = ptr_take(&copy->to);
	return r;
}
