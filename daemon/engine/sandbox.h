/* What this process may still do to the host's files: nothing but read, and that only where the
 * engine keeps its own. Two layers of Landlock: the first before any input, the second before the
 * first byte of a file that the engine's users had a hand in. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "proto/error.h"

/* Below these, relative to PLACE, containerd makes its bundles. */
#define BUNDLES_OF_ENGINE     "containerd/daemon/io.containerd.runtime.v2.task"
#define BUNDLES_OF_CONTAINERD "/run/containerd/io.containerd.runtime.v2.task"

/* Drops every capability, enters the system call filter and forbids to change or execute any file.
 * Returns 0 or a negative errno; the process must then exit. */
int sandbox_enter(struct mayfly_error *err);

/* Forbids to read anything but PLACE's directories and /proc. Directories that are made anew later
 * cannot be read: the process must then be started again. Returns 0 or a negative errno. */
int sandbox_narrow(const struct engine_place *place, struct mayfly_error *err);
