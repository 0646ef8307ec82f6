/* Directories, the volumes mount, the host key: what only root can make on the host. */
#pragma once

#include "daemon/supervisor/supervisor.h"

/* Makes the directories of architecture.md section 6 below the root, gives the state directory to
 * the broker's user and locks it. -EWOULDBLOCK: another mayflyd has it. */
int host_directories_make(struct supervisor *supervisor, struct mayfly_error *err);

/* Mounts a private tmpfs (0700) on ROOT/run/mayfly-volumes, unless one is left from before, and
 * opens it. */
int host_volumes_mount(struct supervisor *supervisor, struct mayfly_error *err);

/* After a clean stop: takes it away again. What containers hold stays theirs. */
void host_volumes_unmount(const struct supervisor *supervisor);

/* Opens the host key: $CREDENTIALS_DIRECTORY/host.key of the service manager, else
 * ROOT/etc/mayfly/host.key; -1 in supervisor->host_key when neither is there. Refuses one that
 * others can read. */
int host_key_open(struct supervisor *supervisor, struct mayfly_error *err);

/* Makes ROOT/etc/mayfly/host.key (32 random bytes, 0400 root, durable) unless there is one, and
 * opens it. */
int host_key_make(struct supervisor *supervisor);
