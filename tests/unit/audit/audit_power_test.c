/* A power cut at any moment. The linker puts the functions below in front of those of the C
 * library: they do their work and note what of it is not durable yet. An image of what a cut may
 * leave over is made of it:
 *   - of the directory: what was there at its last fsync, and the changes since, up to some point
 *     (file systems keep their order)
 *   - of each file: what was there at its last fsync or fdatasync, and of the writes since any
 *     512-byte sectors in any choice; a hole is read as zeros
 * From every image the chain must be taken up with every acknowledged record, and the next writing
 * begins on such an image. */
#include "audit_fixture.h"

#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES   512
#define FILE_MAX_BYTES (64 * 1024)
#define FILES_MAX      512
#define NAMES_MAX      256
#define CHANGES_MAX    256
#define NUMBERS	       4096
#define ROUNDS	       40

struct content {
	size_t size;
	unsigned char bytes[FILE_MAX_BYTES];
};

/* The present content of a file is on the real file system; here is what is durable of it, and
 * the sectors that were written since, in order. */
struct model_file {
	int fd; /* kept open, so that its inode's number is not given to another file */
	ino_t inode;
	struct content durable;
	struct model_write {
		off64_t offset; /* below 0: the file was cut or grown to SIZE */
		size_t size;
		unsigned char bytes[SECTOR_BYTES];
	} writes[CHANGES_MAX];
	int write_count;
};

struct model_name {
	char name[AUDIT_NAME_SIZE];
	int file;
};

struct model_directory {
	struct model_name names[NAMES_MAX];
	int count;
};

static struct {
	bool is_recording;
	ino_t directory;
	struct model_directory durable;
	struct model_change {
		char from[AUDIT_NAME_SIZE]; /* "": FILE gets the name TO */
		char to[AUDIT_NAME_SIZE];   /* "": FROM is removed */
		int file;
	} changes[CHANGES_MAX];
	int change_count;
	struct model_file *files[FILES_MAX];
	int file_count;
	void (*on_change)(void); /* behind every call: here the power may go */
} model;

static ino_t inode_of(int fd)
{
	struct stat status = { 0 };

	(void)fstat(fd, &status);
	return status.st_ino;
}

static struct model_file *file_of(int fd)
{
	const ino_t inode = inode_of(fd);

	for (int i = model.file_count; i-- > 0;)
		if (model.files[i]->inode == inode)
			return model.files[i];
	return NULL;
}

static int add_file(int fd)
{
	struct model_file *const file = calloc(1, sizeof *file);

	ck_assert_int_lt(model.file_count, FILES_MAX);
	file->fd = dup(fd);
	file->inode = inode_of(fd);
	model.files[model.file_count] = file;
	return model.file_count++;
}

static void note_write(
	struct model_file *file, off64_t offset, const unsigned char *bytes, size_t size)
{
	struct model_write *const write = &file->writes[file->write_count++];

	ck_assert_int_lt(file->write_count, CHANGES_MAX);
	write->offset = offset;
	write->size = size;
	if (bytes)
		memcpy(write->bytes, bytes, size);
}

static void note_change(const char *from, const char *to, int file)
{
	struct model_change *const change = &model.changes[model.change_count++];

	ck_assert_int_lt(model.change_count, CHANGES_MAX);
	*change = (struct model_change){ .file = file };
	(void)snprintf(change->from, sizeof change->from, "%s", from);
	(void)snprintf(change->to, sizeof change->to, "%s", to);
}

static int find_name(const struct model_directory *directory, const char *name)
{
	for (int i = 0; i < directory->count; i++)
		if (strcmp(directory->names[i].name, name) == 0)
			return i;
	return -1;
}

static void remove_name(struct model_directory *directory, const char *name)
{
	const int i = find_name(directory, name);

	if (i >= 0)
		directory->names[i] = directory->names[--directory->count];
}

static void apply_change(struct model_directory *directory, const struct model_change *change)
{
	const int from = find_name(directory, change->from);
	const int file = from >= 0 ? directory->names[from].file : change->file;

	if (change->from[0])
		remove_name(directory, change->from);
	if (!change->to[0])
		return;
	remove_name(directory, change->to);
	ck_assert_int_lt(directory->count, NAMES_MAX);
	(void)snprintf(directory->names[directory->count].name, AUDIT_NAME_SIZE, "%s", change->to);
	directory->names[directory->count++].file = file;
}

static void apply_write(struct content *content, const struct model_write *write)
{
	const size_t end = (size_t)(write->offset < 0 ? 0 : write->offset) + write->size;

	ck_assert_uint_le(end, FILE_MAX_BYTES);
	if (write->offset < 0) {
		if (end < content->size)
			memset(content->bytes + end, 0, content->size - end);
		content->size = end;
		return;
	}
	memcpy(content->bytes + write->offset, write->bytes, write->size);
	if (end > content->size)
		content->size = end;
}

static void make_file_durable(struct model_file *file)
{
	for (int i = 0; i < file->write_count; i++)
		apply_write(&file->durable, &file->writes[i]);
	file->write_count = 0;
}

static void on_synced(int fd)
{
	struct model_file *const file = file_of(fd);

	if (file)
		make_file_durable(file);
	if (inode_of(fd) != model.directory)
		return;
	for (int i = 0; i < model.change_count; i++)
		apply_change(&model.durable, &model.changes[i]);
	model.change_count = 0;
}

/* Runs REAL; where it succeeds and the model is recording, NOTE. */
#define WRAP(type, name, parameters, arguments, note)   \
	type __real_##name parameters;                  \
	type __wrap_##name parameters;                  \
	type __wrap_##name parameters                   \
	{                                               \
		const type r = __real_##name arguments; \
                                                        \
		if (r < 0 || !model.is_recording)       \
			return r;                       \
		model.is_recording = false;             \
		note;                                   \
		model.on_change();                      \
		model.is_recording = true;              \
		return r;                               \
	}

static void note_sectors(int fd, const unsigned char *bytes, size_t length, off64_t offset)
{
	while (length > 0) {
		const size_t room = SECTOR_BYTES - (size_t)(offset % SECTOR_BYTES);
		const size_t part = length < room ? length : room;

		note_write(file_of(fd), offset, bytes, part);
		bytes += part;
		length -= part;
		offset += (off64_t)part;
	}
}

WRAP(int, fdatasync, (int fd), (fd), on_synced(fd))
WRAP(int, fsync, (int fd), (fd), on_synced(fd))
WRAP(int, ftruncate64, (int fd, off64_t length), (fd, length),
	note_write(file_of(fd), -1, NULL, (size_t)length))
WRAP(ssize_t, pwrite64, (int fd, const void *bytes, size_t length, off64_t offset),
	(fd, bytes, length, offset), note_sectors(fd, bytes, (size_t)r, offset))
WRAP(int, unlinkat, (int directory, const char *name, int flags), (directory, name, flags),
	note_change(name, "", -1))
WRAP(int, renameat, (int from, const char *old, int to, const char *name), (from, old, to, name),
	note_change(old, name, -1))

int __real_openat64(int directory, const char *name, int flags, ...);
int __wrap_openat64(int directory, const char *name, int flags, ...);
int __wrap_openat64(int directory, const char *name, int flags, ...)
{
	const bool is_there = faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	va_list arguments;
	mode_t mode = 0;
	int fd;

	va_start(arguments, flags);
	if (flags & O_CREAT)
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	fd = __real_openat64(directory, name, flags, mode);
	if (fd < 0 || !model.is_recording || !(flags & O_CREAT))
		return fd;
	model.is_recording = false;
	if (!is_there)
		note_change("", name, add_file(fd));
	else if (flags & O_TRUNC)
		note_write(file_of(fd), -1, NULL, 0);
	model.on_change();
	model.is_recording = true;
	return fd;
}

/* Forgets everything; what is in FIXTURE's directory is durable. */
static void model_begin(const struct fixture *fixture, void (*on_change)(void))
{
	static const char *const keys[] = { AUDIT_KEY_FILE, AUDIT_KEY_FILE ".new", AUDIT_FIRST_FILE,
		AUDIT_FIRST_FILE ".new" };
	char path[FIXTURE_PATH_SIZE * 2];
	const int directory = open(fixture_path(fixture, "", path), O_RDONLY | O_DIRECTORY);
	struct audit_view view;

	for (int i = 0; i < model.file_count; i++) {
		(void)close(model.files[i]->fd);
		free(model.files[i]);
	}
	memset(&model, 0, sizeof model);
	model.directory = inode_of(directory);
	model.on_change = on_change;
	ck_assert_int_eq(audit_view_make(directory, directory, 0, &view, NULL), 0);
	for (size_t i = 0; i < view.count + 4; i++) {
		const char *const name = i < 4 ? keys[i] : view.segments[i - 4].name;
		const int fd = openat(directory, name, O_RDONLY);

		if (fd < 0)
			continue;
		note_change("", name, add_file(fd));
		apply_change(&model.durable, &model.changes[--model.change_count]);
		struct content *const content = &model.files[model.file_count - 1]->durable;
		content->size = (size_t)pread(fd, content->bytes, FILE_MAX_BYTES, 0);
		(void)close(fd);
	}
	audit_view_done(&view);
	(void)close(directory);
	model.is_recording = true;
}

/* Writes what a cut may leave over at this moment into a new directory. */
static void make_image(struct fixture *ret_image)
{
	static struct content content;
	struct model_directory directory = model.durable;
	const int changes = (int)(random() % (model.change_count + 1));
	const long chance = random() % 4; /* of 4: that a sector has reached the disk */
	char path[FIXTURE_PATH_SIZE * 2];

	fixture_make(ret_image);
	ck_assert_int_eq(mkdir(fixture_path(ret_image, "", path), 0700), 0);
	for (int i = 0; i < changes; i++)
		apply_change(&directory, &model.changes[i]);
	for (int i = 0; i < directory.count; i++) {
		const struct model_file *const file = model.files[directory.names[i].file];

		content = file->durable;
		for (int j = 0; j < file->write_count; j++)
			if (random() % 4 <= chance)
				apply_write(&content, &file->writes[j]);
		fixture_write(ret_image, directory.names[i].name, content.bytes, content.size);
	}
}

static bool acknowledged[NUMBERS];
static bool is_opening; /* where there is most to put right */
static bool is_cut;
static struct fixture left_over;
static int next_number;
static int images, torn_writes;

/* Takes up the chain of IMAGE, which must have everything that was acknowledged. */
static void check_image(struct fixture *image)
{
	static unsigned char seen[NUMBERS];

	fixture_open(image, 8000, 3);
	ck_assert_msg(fixture_verify(image, NULL) == 0, "%s", image->err.text);
	fixture_numbers(image, seen, sizeof seen);
	for (int i = 0; i < NUMBERS; i++)
		ck_assert_msg(!acknowledged[i] || seen[i] == 1,
			"image %d: number %d is there %d times", images, i, seen[i]);
	images++;
	torn_writes += image->audit->epoch_records > 0;
}

static bool has_unsynced_writes(void)
{
	for (int i = 0; i < model.file_count; i++)
		if (model.files[i]->write_count > 0)
			return true;
	return false;
}

/* Every now and then the power could go: one image is looked at, and thrown away. Once in a round
 * it does go. Most often where the most can be lost. */
static void on_change(void)
{
	struct fixture image;

	if (is_cut)
		return;
	if (random() % (is_opening ? 2 : 8) == 0) {
		make_image(&image);
		check_image(&image);
		fixture_done(&image);
	}
	if (random() % (has_unsynced_writes() ? 8 : 64) == 0) {
		make_image(&left_over);
		is_cut = true;
	}
}

static void append_some(struct fixture *fixture)
{
	const int count = (int)(random() % 4) + 1;
	char text[1500];
	json_t *records[4];

	memset(text, 'x', sizeof text);
	for (int i = 0; i < count; i++)
		records[i] = json_pack("{s:s%,s:i}", "action", text,
			(size_t)(random() % (long)sizeof text), "number", next_number + i);
	ck_assert_int_eq(audit_append(fixture->audit, records, (size_t)count, &fixture->err), 0);
	for (int i = 0; i < count; i++) {
		/* Who would have been told, when the power is gone? */
		acknowledged[next_number + i] = !is_cut;
		json_decref(records[i]);
	}
	next_number += count;
}

/* Writes until the power goes: the image that is left over is the next FIXTURE. */
static void run_round(struct fixture *fixture)
{
	is_cut = false;
	model_begin(fixture, on_change);
	is_opening = true;
	fixture_open(fixture, 8000, 3);
	is_opening = false;
	while (!is_cut)
		append_some(fixture);
	model.is_recording = false;
	fixture_done(fixture);
	*fixture = left_over;
}

START_TEST(every_image_that_a_power_cut_leaves_is_taken_up)
{
	struct fixture fixture;
	char path[FIXTURE_PATH_SIZE * 2];

	srandom((unsigned)_i + 1);
	fixture_make(&fixture);
	ck_assert_int_eq(mkdir(fixture_path(&fixture, "", path), 0700), 0);
	for (int i = 0; i < ROUNDS; i++)
		run_round(&fixture);
	check_image(&fixture);
	ck_assert(fixture_python_agrees(&fixture));
	/* The test has seen what it is for. */
	ck_assert_int_gt(images, 150);
	ck_assert_int_gt(torn_writes, 5);
	(void)fprintf(stderr, "seed %d: %d images, %d with a torn write, %d acknowledged records\n",
		_i + 1, images, torn_writes, next_number);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, every_image_that_a_power_cut_leaves_is_taken_up, 0, 6);
}

int main(void)
{
	return unit_test_run("audit_power", add);
}
