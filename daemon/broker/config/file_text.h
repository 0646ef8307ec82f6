/* Reads a whole text file that an administrator wrote. */
#pragma once

#include "proto/error.h"

#include <stddef.h>

#define FILE_TEXT_MAX_BYTES ((size_t)4 * 1024 * 1024)

/* Reads the regular file PATH below DIRECTORY_FD (AT_FDCWD: as open()) into *RET_TEXT of
 * *RET_LENGTH bytes, with an end of string behind them; the caller frees it. Symbolic links are
 * followed: administrators use them. Blocks on the disk, never on a pipe. Returns 0; -EPERM for a
 * file that every user may write to (a policy there would be anybody's); -EFBIG above
 * FILE_TEXT_MAX_BYTES; -EISDIR for what is no regular file; the errno of open() or read(). */
int file_text_read(int directory_fd, const char *path, char **ret_text, size_t *ret_length,
	struct mayfly_error *err);
