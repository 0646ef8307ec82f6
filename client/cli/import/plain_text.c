/* Where the imported values still stand in clear: beside what they came from, where editors, other
 * tools and people leave copies. */
#include "client/cli/import/entries.h"
#include "client/cli/value/value.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

/* A shorter value stands in many files by accident. */
#define TELLING_BYTES 6
#define FILES_MAX     1000

/* Reads the regular file PATH into FILE, which has IMPORT_FILE_MAX; 0 for what is none or longer. */
static size_t read_file(const char *path, const struct secret *file)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	struct stat status;
	size_t length = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
		(size_t)status.st_size > file->length)
		return 0;
	while (length < file->length &&
		(n = read(fd, file->bytes + length, file->length - length)) > 0)
		length += (size_t)n;
	return length;
}

static int search(struct cli *cli, const char *path, const struct entries *entries,
	const struct secret *file, struct text_list *lines, struct mayfly_error *err)
{
	const size_t length = read_file(path, file);
	AUTO_FREE char *found = NULL;

	for (size_t i = 0; length > 0 && i < entries->count; i++) {
		AUTO_SECRET value = { 0 };
		char *longer;
		int r = entry_value(cli, entries, &entries->items[i], &value, err);

		if (r < 0)
			return r;
		if (value.length < TELLING_BYTES ||
			!memmem(file->bytes, length, value.bytes, value.length))
			continue;
		longer = text_format(
			"%s%s%s", found ? found : "", found ? ", " : "", entries->items[i].name);
		free(found);
		found = longer;
	}
	if (found)
		text_list_add(lines, "%s: %s", path, found);
	return 0;
}

static int search_directory(struct cli *cli, const char *directory, const struct entries *entries,
	const struct secret *file, struct text_list *lines, struct mayfly_error *err)
{
	struct dirent **names = NULL;
	const int count = scandir(directory, &names, NULL, alphasort);
	int r = 0;

	for (int i = 0; i < count; i++) {
		AUTO_FREE char *path = text_format("%s/%s", directory, names[i]->d_name);

		if (r == 0 && i < FILES_MAX)
			r = search(cli, path, entries, file, lines, err);
		free(names[i]);
	}
	free(names);
	return r;
}

/* What was committed once stays in the history, whatever is removed now. */
static void look_for_history(const char *directory, struct text_list *lines)
{
	AUTO_FREE char *real = realpath(directory, NULL);

	while (real && strlen(real) > 1) {
		AUTO_FREE char *git = text_format("%s/.git", real);

		if (access(git, F_OK) == 0) {
			text_list_add(lines,
				"%s: a git work tree; what was ever committed stays in its history",
				real);
			return;
		}
		*strrchr(real, '/') = '\0';
	}
}

int plain_text_find(struct cli *cli, const char *path, const struct entries *entries,
	struct text_list *ret_lines, struct mayfly_error *err)
{
	AUTO_FREE char *copy = text_copy(path);
	const char *beside = dirname(copy);
	AUTO_SECRET file = { 0 };
	struct stat status;
	struct arena *arena;
	int r = cli_arena(cli, &arena, err);

	if (r == 0)
		r = secret_new(arena, IMPORT_FILE_MAX, &file, err);
	if (r == 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		text_list_add(ret_lines, "%s: all of it", path);
	if (r == 0)
		r = search_directory(cli, beside, entries, &file, ret_lines, err);
	if (r == 0)
		look_for_history(beside, ret_lines);
	return r;
}
