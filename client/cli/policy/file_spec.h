/* One file of a grant or of a volume as people write it:
 * "NAME[=PATH][:uid=N][:gid=N][:mode=0NNN]". The same syntax in --secret and in a volume's
 * `driver_opts: { files: "..." }`. Pure. */
#pragma once

#include "include/mayfly/limits.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct file_spec {
	char name[MAYFLY_REFERENCE_MAX + 1];
	char path[MAYFLY_FILE_PATH_SIZE]; /* "": as the name */
	bool has_uid, has_gid, has_mode;
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* Takes TEXT of LENGTH bytes apart. Returns 0, or -EINVAL with what is wrong. */
int file_spec_parse(
	const char *text, size_t length, struct file_spec *ret_spec, struct mayfly_error *err);

/* The text of SPEC, which the caller frees. */
char *file_spec_text(const struct file_spec *spec);

/* A mode in octal ("0440", "440", "0o440"), at most 0777. */
int file_mode_parse(const char *text, mode_t *ret_mode, struct mayfly_error *err);
/* A uid or gid. WHAT is for the error. */
int file_id_parse(const char *what, const char *text, uint32_t *ret_id, struct mayfly_error *err);
