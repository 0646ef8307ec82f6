/* Landlock: which parts of the file system a process can still change or read.
 * Used with raw system calls: Debian 12's C library has no wrappers. */
#pragma once

#include "proto/error.h"

#include <stddef.h>
#include <stdint.h>

struct landlock_rule {
	int fd;		  /* a directory or file, O_PATH is enough; borrowed */
	uint64_t allowed; /* rights of LANDLOCK_* below, beneath it */
};

/* Everything that changes the file system or executes a file, and reading of files and directories.
 * READ_FILE must not be handled by the broker: the kernel opens a permission event's descriptor
 * with the reader's rights and refuses the opener when that fails. */
extern const uint64_t LANDLOCK_WRITE;
extern const uint64_t LANDLOCK_EXECUTE;
extern const uint64_t LANDLOCK_READ_FILE;
extern const uint64_t LANDLOCK_READ_DIRECTORY;

/* Denies HANDLED for the whole process but where RULES allow it; rights that the kernel does not
 * know yet are left out. May be called again to narrow further. Needs no_new_privs. Returns the
 * kernel's Landlock ABI (at least 1), 0 when the kernel has none (then nothing is done), or a
 * negative errno. Source: landlock(7), kernel 5.13 and later. */
int landlock_restrict(uint64_t handled, const struct landlock_rule *rules, size_t count,
	struct mayfly_error *err);

/* From here on TCP connections only to the COUNT PORTS, and none are taken. Needs kernel 6.7 (ABI 4):
 * before that nothing is done and 0 is returned, else 1; or a negative errno. */
int landlock_restrict_connections(const uint16_t *ports, size_t count, struct mayfly_error *err);
