/* One entry of a service's `secrets:`, and what a service mounts beside them. Pure. */
#pragma once

#include "client/cli/policy/file_spec.h"
#include "client/cli/terminal/text.h"

#include <jansson.h>
#include <limits.h>

struct placed_secret {
	char directory[PATH_MAX];
	struct file_spec spec; /* its path is below the directory */
	const char *source;    /* key of the top-level secret; borrowed from the model */
};

/* Reads ENTRY of SERVICE in MODEL. Returns false after it has added what is wrong to REFUSALS. */
bool placed_secret_read(json_t *model, const char *service, json_t *entry,
	struct placed_secret *ret_placed, struct text_list *refusals);

/* The path of SPEC below its directory. */
const char *file_spec_path(const struct file_spec *spec);

/* True if PATH is DIRECTORY or something below it. */
bool path_is_within(const char *path, const char *directory);

/* What SERVICE mounts at DIRECTORY or below it (its target, the caller frees it), or NULL. */
char *service_mount_within(json_t *service, const char *directory);

/* PATH, absolute, without "//", "/." and a final '/', in the caller's BUFFER; false if it has ".."
 * or does not fit. */
bool path_normalise(const char *path, char *buffer, size_t size);
