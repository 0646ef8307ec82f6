/* Values, read from delivered files into locked memory. Needs no socket and no broker: works on
 * whatever is mounted, by a volume or by mayfly_request(). */
#pragma once

#include <mayfly/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For FLAGS: a value may stand in memory that can be swapped or dumped; see
 * mayfly_value_is_locked(). Containers often may lock no more than 64 KiB, 16 values. */
#define MAYFLY_ALLOW_UNLOCKED 1u

/* The bytes of one file. Does not change. */
struct mayfly_value;

/* One generation of a delivery's files, held open. */
struct mayfly_generation;

/* Reads the file at PATH, 1 byte to 16 MiB, straight into memory of its own: locked and left out of
 * core dumps, in pages that nothing else uses. FLAGS: 0 or MAYFLY_ALLOW_UNLOCKED. A symbolic link
 * is followed: a delivery has them. The caller owns *RET_VALUE until mayfly_value_free(). Blocks
 * while the open guard holds the open, at most 10 s; a signal does not end that. Errors, in
 * *FAILURE too: MAYFLY_NO_FILE, MAYFLY_NOT_READABLE (another owner, refused by the guard, no
 * regular file, over 16 MiB), MAYFLY_ENDED (empty, or replaced again and again while it was read),
 * MAYFLY_NOT_LOCKED, MAYFLY_NO_MEMORY, MAYFLY_INVALID_ARGUMENT, MAYFLY_FAILED.
 * Source: mlock(2), madvise(2) MADV_DONTDUMP, proto/PROTOCOL.md limits, fanotify(7). */
MAYFLY_API enum mayfly_status mayfly_value_read(const char *path, unsigned flags,
	struct mayfly_value **ret_value, struct mayfly_failure *failure);

/* The bytes of VALUE, followed by a NUL that does not count. They are gone with
 * mayfly_value_free(): a copy is not wiped by it. Does not block. Errors: none. Source: this
 * header. */
MAYFLY_API const void *mayfly_value_bytes(const struct mayfly_value *value);

/* How many bytes VALUE has: at least 1. They may hold NULs.
 * Does not block. Errors: none.
 * Source: proto/PROTOCOL.md, limits. */
MAYFLY_API size_t mayfly_value_length(const struct mayfly_value *value);

/* True if the bytes of VALUE are locked in memory and left out of core dumps; false is possible
 * with MAYFLY_ALLOW_UNLOCKED only, and in the child of a fork the answer is the parent's. Does not
 * block. Errors: none. Source: mlock(2). */
MAYFLY_API bool mayfly_value_is_locked(const struct mayfly_value *value);

/* Overwrites the bytes of VALUE, gives their memory back and frees it; NULL is accepted.
 * Does not block. Errors: none.
 * Source: explicit_bzero(3). */
MAYFLY_API void mayfly_value_free(struct mayfly_value *value);

/* Holds the present generation of DIRECTORY, a delivery's target: what is read through
 * *RET_GENERATION belongs together, whatever is rotated meanwhile. In a directory with
 * `layout: plain`, or one that is still empty, there are no generations: each file is what it is
 * when it is read. The caller owns *RET_GENERATION until mayfly_generation_close().
 * Does not block. Errors, in *FAILURE too: MAYFLY_NO_FILE (no such directory),
 * MAYFLY_NOT_READABLE, MAYFLY_NO_MEMORY, MAYFLY_INVALID_ARGUMENT, MAYFLY_FAILED.
 * Source: the link `..data`, which a rotation exchanges (daemon/mounter/delivery_files.h). */
MAYFLY_API enum mayfly_status mayfly_generation_open(const char *directory,
	struct mayfly_generation **ret_generation, struct mayfly_failure *failure);

/* True if GENERATION is one, false if its directory has none: see mayfly_generation_open().
 * Does not block. Errors: none.
 * Source: this header. */
MAYFLY_API bool mayfly_generation_is_atomic(const struct mayfly_generation *generation);

/* Reads the file NAME, relative and without "." and "..", of GENERATION. FLAGS, ownership of
 * *RET_VALUE and blocking as for mayfly_value_read().
 * Errors, in *FAILURE too: those of mayfly_value_read(). MAYFLY_ENDED also when the generation has
 * been replaced and taken away: open the directory again and read all names again.
 * Source: openat(2); the time for which a replaced generation stays is the broker's. */
MAYFLY_API enum mayfly_status mayfly_generation_read(const struct mayfly_generation *generation,
	const char *name, unsigned flags, struct mayfly_value **ret_value,
	struct mayfly_failure *failure);

/* Lets go of GENERATION and frees it; NULL is accepted. Values read from it stay.
 * Does not block. Errors: none.
 * Source: this header. */
MAYFLY_API void mayfly_generation_close(struct mayfly_generation *generation);

#ifdef __cplusplus
}
#endif
