/* A value's file: read whole into locked memory, or not at all. */
#pragma once

#include "include/mayfly/value.h"

/* Reads NAME below the directory DIRECTORY (AT_FDCWD for a path), opened with OPEN_FLAGS beside the
 * necessary ones. SHOWN stands for it in FAILURE. MAYFLY_ENDED when the file was emptied or changed
 * while it was read, as a rotation or the end of a delivery does. */
enum mayfly_status value_file_read(int directory, const char *name, int open_flags,
	const char *shown, unsigned flags, struct mayfly_value **ret_value,
	struct mayfly_failure *failure);
