/* The arena: made once, entered again by the mounter's successors. And what the kernel can do,
 * tried out there. */
#pragma once

#include "daemon/mounter/mounter.h"

/* Enters the arena of NAMESPACE, a descriptor that a predecessor left with the supervisor, or makes
 * a new one when it is no mount namespace (*RET_IS_NEW). Fills the namespace members and has.
 * Before the sandbox. */
int arena_enter(struct mounter *mounter, int namespace, bool *ret_is_new, struct mayfly_error *err);

/* Opens the own mount NAME of the arena, O_PATH; -ENOENT when there is none. */
int arena_open(const struct mounter *mounter, const char *name);

/* Attaches OWN, a detached mount, at NAME in the arena. */
int arena_attach(const struct mounter *mounter, const char *name, int own);

/* Takes the own mount NAME out of the arena. */
void arena_remove(const struct mounter *mounter, const char *name);

/* Names of at most MAX own mounts that no delivery of the table has. Returns how many, or a
 * negative errno. */
int arena_strays(const struct mounter *mounter, char (*names)[DELIVERY_HEX_SIZE], int max);

/* Leaves the arena for the host's mount namespace and comes back. Between the two only what is
 * written for it may run. */
int host_namespace_enter(const struct mounter *mounter);
void host_namespace_leave(const struct mounter *mounter);
