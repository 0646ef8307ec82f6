/* Reads the files of tests/unit/policy/corpus, which MAYFLY_CORPUS points at, and looks for
 * complaints. */
#pragma once

#include "daemon/broker/config/complaint.h"
#include "daemon/broker/config/file_text.h"
#include "proto/cleanup.h"

#include <check.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline const char *corpus_path(char buffer[512], const char *folder, const char *name)
{
	(void)snprintf(buffer, 512, "%s/%s/%s.json", getenv("MAYFLY_CORPUS"), folder, name);
	return buffer;
}

/* The caller frees it. */
static inline char *text_read(const char *path, size_t *ret_length)
{
	struct mayfly_error err;
	char *text = NULL;

	ck_assert_msg(file_text_read(AT_FDCWD, path, &text, ret_length, &err) == 0, "%s", err.text);
	return text;
}

/* All .json files of a folder; the caller calls globfree(). */
static inline void corpus_list(const char *folder, glob_t *ret_list)
{
	char pattern[512];

	(void)corpus_path(pattern, folder, "*");
	ck_assert_int_eq(glob(pattern, 0, NULL, ret_list), 0);
}

/* The part of PATH between its last '/' and ".json". */
static inline void corpus_name(const char *path, char buffer[128])
{
	(void)snprintf(buffer, 128, "%s", strrchr(path, '/') + 1);
	*strrchr(buffer, '.') = '\0';
}

static inline bool has_complaint(const struct complaints *list, const char *file, unsigned line,
	const char *says, const char *nearest)
{
	char where[256];

	(void)snprintf(where, sizeof where, "%s:%u", file, line);
	for (size_t i = 0; i < list->count; i++) {
		const struct complaint *one = &list->items[i];

		if (strcmp(one->where, where) == 0 && strstr(one->text, says) &&
			!strchr(one->text, '\n') &&
			(nearest ? one->nearest && strcmp(one->nearest, nearest) == 0
				 : !one->nearest))
			return true;
	}
	return false;
}

/* Every complaint names a line of a file. */
static inline bool all_have_lines(const struct complaints *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const char *colon = strrchr(list->items[i].where, ':');

		if (!colon || atoi(colon + 1) < 1)
			return false;
	}
	return list->count > 0;
}

/* All complaints in one text, for the message of a failed check. */
static inline const char *complaints_text(const struct complaints *list)
{
	static char text[8192];
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < list->count && used < sizeof text; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "\n  %s: %s [%s]",
			list->items[i].where, list->items[i].text,
			list->items[i].nearest ? list->items[i].nearest : "");
	return text;
}
