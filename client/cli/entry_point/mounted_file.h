/* Which files of Mayfly's a service finds where. Pure functions of the model. */
#pragma once

#include "client/cli/compose/conversion.h"

/* What services mount: by themselves in MODEL, where DRIVER is ours, and by CONVERSION. */
struct mounts {
	json_t *model;
	const struct conversion *conversion;
	const char *driver;
};

/* A file by the directory that is mounted and its path below it. */
struct mounted_file {
	char *directory, *path;
};

void mounted_file_done(struct mounted_file *file);

/* Finds SECRET, by its name or by its file's path, among the MOUNTS of SERVICE. One of its own may
 * not say what it holds: then SECRET is taken for a path in it. Returns false after it has added
 * what is wrong to REFUSALS. The caller owns *RET_FILE until mounted_file_done(). */
bool mounted_file_find(const struct mounts *mounts, const char *service, const char *secret,
	struct mounted_file *ret_file, struct text_list *refusals);
