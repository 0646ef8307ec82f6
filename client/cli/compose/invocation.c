#include "client/cli/compose/invocation.h"

#include "client/cli/files/edited_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Compose's options before its command that take an argument. */
static const struct {
	const char *name;
	char letter;
	bool is_project; /* the model depends on it */
} options[] = {
	{ "file", 'f', true },
	{ "project-name", 'p', true },
	{ "profile", 0, true },
	{ "env-file", 0, true },
	{ "project-directory", 0, true },
	{ "workdir", 0, true },
	{ "ansi", 0, false },
	{ "parallel", 0, false },
	{ "progress", 0, false },
};
#define OPTIONS (sizeof options / sizeof options[0])

void invocation_done(struct invocation *invocation)
{
	text_list_done(&invocation->files);
	text_list_done(&invocation->project);
	text_list_done(&invocation->others);
}

/* The row of the option that WORD is, and what stands behind its '=' or letter (or NULL). */
static size_t find_option(const char *word, const char **ret_value)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		const size_t length = strlen(options[i].name);

		*ret_value = NULL;
		if (strncmp(word, "--", 2) == 0 &&
			strncmp(word + 2, options[i].name, length) == 0 &&
			(word[2 + length] == '\0' || word[2 + length] == '=')) {
			*ret_value = word[2 + length] == '=' ? word + 3 + length : NULL;
			return i;
		}
		if (options[i].letter && word[0] == '-' && word[1] == options[i].letter) {
			*ret_value = word[2] == '=' ? word + 3 : word[2] ? word + 2 : NULL;
			return i;
		}
	}
	return OPTIONS;
}

static void keep_option(struct invocation *invocation, size_t row, const char *value)
{
	const char *name = options[row].name;

	if (strcmp(name, "file") == 0) {
		text_list_add(&invocation->files, "%s", value);
		return;
	}
	if (strcmp(name, "env-file") == 0)
		invocation->env_file = value;
	if (strcmp(name, "project-directory") == 0 || strcmp(name, "workdir") == 0)
		invocation->directory = value;
	text_list_add(
		options[row].is_project ? &invocation->project : &invocation->others, "--%s", name);
	text_list_add(
		options[row].is_project ? &invocation->project : &invocation->others, "%s", value);
}

int invocation_parse(
	const char *const *words, struct invocation *ret_invocation, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(invocation_done) struct invocation invocation = { 0 };

	for (; *words && (*words)[0] == '-'; words++) {
		const char *value;
		const size_t row = find_option(*words, &value);

		if (row == OPTIONS) {
			text_list_add(&invocation.others, "%s", *words);
			continue;
		}
		if (!value)
			value = *++words;
		if (!value)
			return error_set(
				err, -EINVAL, "Compose's --%s needs something", options[row].name);
		keep_option(&invocation, row, value);
	}
	invocation.rest = words;
	*ret_invocation = invocation;
	invocation = (struct invocation){ 0 };
	return 0;
}

/* Adds the files of a COMPOSE_FILE, which SEPARATOR (NULL: ':') takes apart. */
static void add_listed(struct invocation *invocation, const char *list, const char *separator)
{
	const char *between = separator && separator[0] ? separator : ":";

	while (*list) {
		const char *end = strstr(list, between);
		const size_t length = end ? (size_t)(end - list) : strlen(list);

		if (length > 0)
			text_list_add(&invocation->files, "%.*s", (int)length, list);
		list += length + (end ? strlen(between) : 0);
	}
}

/* The value of NAME in the text of an env file: the last assignment, without its quotes. The
 * caller frees it; NULL if there is none. */
static char *env_file_value(const char *text, const char *name)
{
	const size_t name_length = strlen(name);
	char *found = NULL;

	for (const char *line = text; *line;) {
		const size_t length = strcspn(line, "\r\n");
		const char *value = line + name_length + 1;

		if (length > name_length && memcmp(line, name, name_length) == 0 &&
			line[name_length] == '=') {
			size_t value_length = length - name_length - 1;

			if (value_length >= 2 && strchr("\"'", value[0]) &&
				value[value_length - 1] == value[0]) {
				value++;
				value_length -= 2;
			}
			free(found);
			found = text_format("%.*s", (int)value_length, value);
		}
		line += length;
		line += strspn(line, "\r\n");
	}
	return found;
}

static void add_from_env_file(struct invocation *invocation)
{
	AUTO_FREE char *path =
		invocation->env_file ? text_copy(invocation->env_file)
				     : text_format("%s/.env",
					       invocation->directory ? invocation->directory : ".");
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *list = NULL;
	AUTO_FREE char *separator = NULL;
	size_t length;

	/* Without such a file there is no such list; Compose itself says what is wrong with one. */
	if (fd < 0 || file_read_all(fd, path, &text, &length, NULL) < 0)
		return;
	list = env_file_value(text, "COMPOSE_FILE");
	separator = env_file_value(text, "COMPOSE_PATH_SEPARATOR");
	if (list)
		add_listed(invocation, list, separator);
	/* The rest of it may be somebody's passwords. */
	explicit_bzero(text, length);
}

/* The first of NAMES in DIRECTORY; true if there is one. */
static bool add_first(struct invocation *invocation, const char *directory,
	const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *path = text_format("%s%s%s", directory,
			directory[0] && strcmp(directory, "/") != 0 ? "/" : "", names[i]);

		if (access(path, F_OK) == 0) {
			text_list_add(&invocation->files, "%s", path);
			return true;
		}
	}
	return false;
}

/* The default files of DIRECTORY or the nearest one above it. */
static void add_defaults(struct invocation *invocation)
{
	static const char *const names[] = { "compose.yaml", "compose.yml", "docker-compose.yml",
		"docker-compose.yaml" };
	static const char *const overrides[] = { "compose.override.yml", "compose.override.yaml",
		"docker-compose.override.yml", "docker-compose.override.yaml" };
	char directory[PATH_MAX];
	const char *start = invocation->directory ? invocation->directory : ".";

	if (add_first(invocation, invocation->directory ? start : "", names, 4)) {
		(void)add_first(invocation, invocation->directory ? start : "", overrides, 4);
		return;
	}
	if (!realpath(start, directory))
		return;
	while (strcmp(directory, "/") != 0) {
		char *slash = strrchr(directory, '/');

		slash[slash == directory ? 1 : 0] = '\0';
		if (add_first(invocation, directory, names, 4)) {
			(void)add_first(invocation, directory, overrides, 4);
			return;
		}
	}
}

int invocation_find_files(struct invocation *invocation, struct mayfly_error *err)
{
	const char *listed = getenv("COMPOSE_FILE");

	if (invocation->files.count == 0 && listed && listed[0])
		add_listed(invocation, listed, getenv("COMPOSE_PATH_SEPARATOR"));
	if (invocation->files.count == 0)
		add_from_env_file(invocation);
	if (invocation->files.count == 0)
		add_defaults(invocation);
	for (size_t i = 0; i < invocation->files.count; i++)
		if (strcmp(invocation->files.items[i], "-") == 0)
			return error_set(err, -EINVAL,
				"a compose file from standard input cannot be read twice\nsave it "
				"and give its name");
	return 0;
}

void invocation_options(
	const struct invocation *invocation, const char *override, struct text_list *ret_options)
{
	struct text_list list = { 0 };

	for (size_t i = 0; i < invocation->project.count; i++)
		text_list_add(&list, "%s", invocation->project.items[i]);
	for (size_t i = 0; i < invocation->files.count; i++) {
		text_list_add(&list, "-f");
		text_list_add(&list, "%s", invocation->files.items[i]);
	}
	if (override) {
		text_list_add(&list, "-f");
		text_list_add(&list, "%s", override);
	}
	*ret_options = list;
}
