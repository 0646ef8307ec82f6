/* The open guard's marks: which opens of a delivery ask the broker, and which need not.
 * fanotify(7): a mark on the superblock catches every way to the files; ignore marks on single
 * mounts exempt our own and, once the start is verified, the container's. Only our own tmpfs are
 * ever marked. This file decides what stays guarded after release; tests replace it by a variant
 * that does not. */
#pragma once

#include "daemon/mounter/mounter.h"

/* From here on nobody opens a file of DELIVERY without being asked for by the reader of its group.
 * Our own mount is exempt: the mounter would wait for an answer to itself. */
int guard_mark(const struct mounter *mounter, const struct delivery *delivery);

/* The start is verified: hands DELIVERY over to the shared group. The superblock stays marked, so
 * copies of the mount that others made while it was armed stay guarded for good. With FREE_TARGET
 * the container's own mount (delivery->target) is exempt: its opens cost nothing; without it that
 * mount is guarded again. The delivery's own group is left last. */
int guard_retreat(const struct mounter *mounter, const struct delivery *delivery, bool free_target);

/* 0 if the kernel lets GROUP guard MOUNT (then the mark is taken away again), else a negative
 * errno. */
int guard_probe(int group, int mount);
