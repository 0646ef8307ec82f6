#include "daemon/mounter/kernel/mount_table.h"

#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/root rw" (proc_pid_mountinfo(5)); spaces
 * and newlines inside a path are escaped, so words are words. */
enum { WORD_ID = 0, WORD_POINT = 4, WORD_OPTIONS = 5, WORD_OPTIONAL = 6, WORDS_MAX = 16 };

struct mount_line {
	char *words[WORDS_MAX];
	size_t count;
	char *type; /* behind the single "-"; NULL in a line that has none */
};

/* Returns the length, or a negative errno, or -1 when it does not fit. */
static ssize_t read_table(int proc, pid_t pid, char *text)
{
	char path[32];
	AUTO_FD file = -1;
	ssize_t length = 0, part;

	(void)snprintf(path, sizeof path, "%d/mountinfo", pid);
	file = open_proc(proc, path, O_RDONLY);
	if (file < 0)
		return file;
	do {
		part = read(file, text + length, (size_t)(MOUNT_TABLE_MAX_BYTES - length));
		length += part > 0 ? part : 0;
	} while (part > 0);
	if (part < 0 || length == MOUNT_TABLE_MAX_BYTES)
		return -1;
	text[length] = '\0';
	return length;
}

/* Takes TEXT, one line without its end, apart in place. */
static void split(char *text, struct mount_line *line)
{
	char *rest = NULL;

	*line = (struct mount_line){ 0 };
	for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (line->count >= WORD_OPTIONAL && strcmp(word, "-") == 0) {
			line->type = strtok_r(NULL, " ", &rest);
			return;
		}
		if (line->count < WORDS_MAX)
			line->words[line->count++] = word;
	}
}

static bool is_cgroup(const struct mount_line *line)
{
	return line->type && line->count > WORD_OPTIONS && strncmp(line->type, "cgroup", 6) == 0;
}

/* The lines of a table one after the other, in a buffer that one caller at a time uses: this
 * process has one thread. */
static char table[MOUNT_TABLE_MAX_BYTES + 1];

static bool next_line(char **at, struct mount_line *line)
{
	char *end;

	if (!**at)
		return false;
	end = strchrnul(*at, '\n');
	if (*end)
		*end++ = '\0';
	split(*at, line);
	*at = end;
	return true;
}

/* What is mounted last on the root is what stands there. */
static bool is_root(const struct mount_line *line)
{
	return line->count > WORD_OPTIONS && strcmp(line->words[WORD_POINT], "/") == 0;
}

static bool is_read_only(const struct mount_line *line)
{
	const char *options = line->words[WORD_OPTIONS];

	return strcmp(options, "ro") == 0 || strncmp(options, "ro,", 3) == 0;
}

struct mount_table_facts mount_table_look(int proc, pid_t pid)
{
	struct mount_table_facts facts = { 0 };
	struct mount_line line;
	char *at = table;

	if (read_table(proc, pid, table) < 0)
		return (struct mount_table_facts){ .has_writable_cgroup = true };
	while (next_line(&at, &line)) {
		if (is_root(&line))
			facts.root_is_read_only = is_read_only(&line);
		if (is_cgroup(&line) && !is_read_only(&line))
			facts.has_writable_cgroup = true;
	}
	return facts;
}

static bool propagates(const struct mount_line *line)
{
	for (size_t i = WORD_OPTIONAL; i < line->count; i++)
		if (strncmp(line->words[i], "shared:", 7) == 0)
			return true;
	/* More optional fields than there are kinds of them: not looked at. */
	return line->count == WORDS_MAX;
}

bool mount_table_is_shared(int proc, int directory)
{
	struct mount_line line;
	uint64_t id;
	char *at = table;

	if (mount_id_reusable(directory, &id) < 0 || read_table(proc, getpid(), table) < 0)
		return true;
	while (next_line(&at, &line))
		if (line.count > WORD_OPTIONS && strtoull(line.words[WORD_ID], NULL, 10) == id)
			return propagates(&line);
	return true;
}
