/* Secret bytes and the locked memory that they live in.
 *
 * Glossary
 *   arena   one mapping, made once after exec, locked (mlock2 MLOCK_ONFAULT) before privileges are
 *           dropped, left out of core dumps, zero in a forked child
 *   secret  a run of pages of the arena; wiped and given back to the kernel by secret_done()
 *
 * There is no function that turns a secret into a string, and none that copies it out.
 * Locked at first touch: an idle arena of 64 MiB costs no memory (kernel >= 4.4, mlock2(2)). */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ARENA_SIZE_BYTES ((size_t)64 * 1024 * 1024)

struct arena;

struct secret {
	struct arena *arena; /* borrowed; outlives every secret */
	unsigned char *bytes;
	size_t length;
};

/* Maps and locks an arena of SIZE_BYTES, a multiple of the page size, and stores it in *RET_ARENA.
 * Call it before privileges are dropped: CAP_IPC_LOCK lifts RLIMIT_MEMLOCK.
 * Returns 0; -ENOMEM or -EPERM with the limit named in ERR when the memory cannot be locked. */
int arena_new(size_t size_bytes, struct arena **ret_arena, struct mayfly_error *err);

/* Wipes and unmaps. No secret of it may be alive. NULL is fine. */
void arena_free(struct arena *arena);

/* Wipes everything in it and leaves it mapped: for the end of a process whose threads may still
 * look at it. */
void arena_wipe(struct arena *arena);

/* Bytes in use now, whole pages. For `mayfly status`. */
size_t arena_used_bytes(struct arena *arena);

/* Stores in *RET_SECRET a zeroed secret of LENGTH bytes (0 is fine and takes no page).
 * The caller owns it until secret_done(). May be called from any thread. Does not block.
 * Returns 0; -ENOMEM when the arena is full: the request is refused, nothing is swapped out. */
int secret_new(
	struct arena *arena, size_t length, struct secret *ret_secret, struct mayfly_error *err);

/* Wipes and returns the pages. The empty value is fine and is what it leaves behind. */
void secret_done(struct secret *secret);

/* Moves ownership out of SECRET, which becomes empty. */
struct secret secret_take(struct secret *secret);

/* Wipes what is behind NEW_LENGTH (not above the present length) and shortens SECRET. */
void secret_shorten(struct secret *secret, size_t new_length);

/* Compares in constant time, for equal lengths. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Reads a whole sealed memfd (F_SEAL_SHRINK and F_SEAL_WRITE set: its sender can change nothing
 * while it is read) of at most MAX_BYTES from offset 0 into *RET_SECRET.
 * Does not block: a memfd has no reader that could be waited for.
 * Returns 0; -EINVAL for anything that is no sealed memfd; -EFBIG; -ENOMEM. */
int secret_read_memfd(struct arena *arena, int fd, size_t max_bytes, struct secret *ret_secret,
	struct mayfly_error *err);

#define AUTO_SECRET __attribute__((cleanup(secret_done))) struct secret
