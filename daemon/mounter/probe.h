/* What this kernel can do, found out by trying each thing once at start, before the sandbox. */
#pragma once

#include "daemon/mounter/mounter.h"

/* Fills mounter->has. Where detached mounts cannot be cloned (before 6.15) the process also gets a
 * mount namespace of its own with an arena in it, where own mounts are attached and cloned from;
 * the host's namespace is then entered by workers. */
int mounter_probe(struct mounter *mounter, struct mayfly_error *err);
