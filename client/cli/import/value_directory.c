#include "client/cli/import/entries.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#define DEEPEST	  8
#define FILES_MAX 10000

struct walk {
	struct entries *entries;
	size_t root_length; /* of the path of the directory that was given */
	unsigned depth;
};

static int add_file(struct walk *walk, const char *path, struct mayfly_error *err)
{
	const char *name = path + walk->root_length + 1;
	struct entries *entries = walk->entries;
	int r;

	if (entries->count >= FILES_MAX)
		return error_set(err, -E2BIG, "there are more than %d files in it", FILES_MAX);
	r = entries_add(entries, name, strlen(name), entries_begin(entries), 0, err);
	if (r == 0)
		entries->items[entries->count - 1].path = text_copy(path);
	return r;
}

static int walk_directory(struct walk *walk, const char *path, struct mayfly_error *err);

/* Links to files are followed, as whoever mounts a directory of secrets makes them; links to
 * directories would lead anywhere. */
static int look(struct walk *walk, const char *path, struct mayfly_error *err)
{
	struct stat itself, status;

	if (lstat(path, &itself) != 0 || stat(path, &status) != 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (S_ISREG(status.st_mode) && status.st_size > 0)
		return add_file(walk, path, err);
	if (S_ISDIR(itself.st_mode))
		return walk_directory(walk, path, err);
	text_list_add(&walk->entries->left_out, "%s: %s", path,
		S_ISREG(status.st_mode) ? "it is empty" : "it is no file");
	return 0;
}

static int is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int walk_directory(struct walk *walk, const char *path, struct mayfly_error *err)
{
	struct dirent **names = NULL;
	int count, r = 0;

	if (++walk->depth > DEEPEST)
		return error_set(err, -ELOOP, "'%s' is nested too deeply", path);
	count = scandir(path, &names, is_shown, alphasort);
	if (count < 0)
		return error_errno(err, -errno, "list '%s'", path);
	for (int i = 0; i < count; i++) {
		AUTO_FREE char *below = text_format("%s/%s", path, names[i]->d_name);

		if (r == 0)
			r = look(walk, below, err);
		free(names[i]);
	}
	free(names);
	walk->depth--;
	return r;
}

int value_directory_read(const char *path, struct entries *entries, struct mayfly_error *err)
{
	AUTO_FREE char *plain = text_copy(path);
	struct walk walk = { .entries = entries };
	size_t length = strlen(plain);

	while (length > 1 && plain[length - 1] == '/')
		plain[--length] = '\0';
	walk.root_length = length;
	return walk_directory(&walk, plain, err);
}
