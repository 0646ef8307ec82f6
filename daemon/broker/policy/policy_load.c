#include "daemon/broker/policy/policy.h"

#include "daemon/broker/config/file_text.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_SUFFIX ".json"

/* The files of policy.d, sorted by name; `file` and `text` are owned here. */
struct policy_files {
	struct policy_text *items;
	size_t count;
};

static void policy_files_done(struct policy_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free((void *)files->items[i].file);
		free((void *)files->items[i].text);
	}
	free(files->items);
	*files = (struct policy_files){ 0 };
}

static void closedir_p(DIR **directory)
{
	if (*directory)
		(void)closedir(*directory);
	*directory = NULL;
}

/* A hidden file is an editor's, or a half-written one of `mayfly allow` before its rename. */
static bool is_policy_name(const char *name)
{
	const size_t length = strlen(name), suffix = strlen(FILES_SUFFIX);

	return name[0] != '.' && length > suffix &&
	       strcmp(name + length - suffix, FILES_SUFFIX) == 0;
}

static int add_name(struct policy_files *files, const char *path, const char *name)
{
	struct policy_text *grown = reallocarray(files->items, files->count + 1, sizeof *grown);
	char *file = NULL;

	if (!grown)
		return -ENOMEM;
	files->items = grown;
	if (asprintf(&file, "%s/%s", path, name) < 0)
		return -ENOMEM;
	grown[files->count++] = (struct policy_text){ .file = file };
	return 0;
}

static int compare_files(const void *left, const void *right)
{
	const struct policy_text *a = left, *b = right;

	return strcmp(a->file, b->file);
}

/* Whoever may write to the directory may grant himself everything. */
static int check_directory(DIR *directory, const char *path, struct mayfly_error *err)
{
	struct stat status;

	if (fstat(dirfd(directory), &status) != 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (status.st_mode & S_IWOTH)
		return error_set(err, -EPERM,
			"read '%s': every user may write to it; run `chmod o-w` on it", path);
	return 0;
}

static int list_names(
	struct policy_files *files, DIR *directory, const char *path, struct mayfly_error *err)
{
	for (;;) {
		const struct dirent *entry;
		int r;

		errno = 0;
		entry = readdir(directory);
		if (!entry && errno != 0)
			return error_errno(err, -errno, "list '%s'", path);
		if (!entry)
			break;
		if (!is_policy_name(entry->d_name))
			continue;
		r = add_name(files, path, entry->d_name);
		if (r < 0)
			return error_errno(err, r, "list '%s'", path);
	}
	if (files->count > 0)
		qsort(files->items, files->count, sizeof *files->items, compare_files);
	return 0;
}

static int read_files(struct policy_files *files, const char *path, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(closedir_p) DIR *directory = opendir(path);
	int r;

	if (!directory && errno == ENOENT)
		return 0;
	if (!directory)
		return error_errno(err, -errno, "open '%s'", path);
	r = check_directory(directory, path, err);
	if (r == 0)
		r = list_names(files, directory, path, err);
	for (size_t i = 0; r == 0 && i < files->count; i++) {
		struct policy_text *item = &files->items[i];
		char *text = NULL;

		r = file_text_read(AT_FDCWD, item->file, &text, &item->length, err);
		item->text = text;
	}
	return r;
}

int policy_load(const char *root, const char *const *sets, size_t sets_count,
	struct policy **ret_policy, struct complaints *complaints, struct complaints *notes,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };
	char path[PATH_MAX];
	int r;

	r = snprintf(path, sizeof path, "%s/etc/mayfly/policy.d", root);
	if (r < 0 || (size_t)r >= sizeof path)
		return error_errno(err, -ENAMETOOLONG, "find the policy below '%s'", root);
	r = read_files(&files, path, err);
	if (r < 0)
		return r;
	r = policy_parse(files.items, files.count, sets, sets_count, ret_policy, complaints, notes);
	if (r == -EINVAL)
		return complaints_to_error(complaints, err);
	if (r < 0)
		return error_errno(err, r, "read '%s'", path);
	return 0;
}
