/* Which uid and gid a container's configured user means: "", "1000", "1000:1000", "app", "app:web",
 * "app:5", by the rules of the runtime that will start it (the first line that fits wins; a number
 * that stands in no file is taken as it is). Names are looked up in the container's own files,
 * which its image's author wrote: sizes are bounded, only regular files below the root are opened.
 */
#pragma once

#include "proto/error.h"

#include <stdint.h>
#include <sys/types.h>

#define USER_FILE_MAX_BYTES (1024 * 1024)
#define USER_LINE_MAX_BYTES (64 * 1024)
#define USER_ID_MAX	    INT32_MAX

struct user_ids {
	uint32_t uid, gid; /* inside the container */
};

/* Looks TEXT up below ROOT, a container's root directory (-1: it cannot be reached; then only what
 * no file can change is answered). Returns 0, or a negative errno with words for a person:
 * -ENOENT no such user or group, -ERANGE an impossible number, -EUNATCH the root is out of reach.
 */
int user_lookup(int root, const char *text, struct user_ids *ret_ids, struct mayfly_error *err);
