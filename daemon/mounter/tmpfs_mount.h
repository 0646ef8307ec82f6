/* A delivery's tmpfs: made in the arena, attached read-only on the host path, detached again. */
#pragma once

#include "daemon/mounter/mounter.h"

/* Makes a tmpfs of SIZE_BYTES and INODES (nosuid, nodev, noexec, noswap) and attaches it at NAME in
 * the arena; with HAS_VIEW (the plain layout) readers see a directory of it. Returns the own mount (O_PATH); -EOPNOTSUPP when the kernel would swap it out. */
int tmpfs_make(const struct mounter *mounter, const char *name, uint64_t size_bytes,
	uint32_t inodes, bool has_view);

/* True when DIRECTORY (O_RDONLY) is the root of the tmpfs that was made for the delivery NAME: it
 * bears a mark that only CAP_SYS_ADMIN of the host can set or see. */
bool tmpfs_is_delivery(int directory, const char *name);

/* A read-only, detached clone of the own mount OWN. Only in the arena: the kernel clones what is in
 * the caller's namespace. */
int tmpfs_clone_read_only(int own);

/* Attaches CLONE at the directory NAME (made if it is not there) below VOLUMES, an open directory
 * of the calling process's mount namespace. */
int host_path_attach(int clone, int volumes, const char *name);

/* Takes the mount off the directory NAME below VOLUMES; the directory stays. Nothing mounted: 0. */
int host_path_detach(int volumes, const char *name);

/* Removes the empty directory NAME below VOLUMES; not there: 0. */
int host_path_remove(int volumes, const char *name);

/* Opens the volumes directory PATH in the mount namespace that the calling worker has just entered;
 * makes it, and a private tmpfs on it, if it is not there (an engine in a mount namespace of its
 * own, older than ours). */
int volumes_open_here(const char *path);
