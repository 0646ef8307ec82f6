/* Processes by pidfd, and the namespaces that they are in. Reads the host's /proc through a
 * descriptor from before the sandbox; every number read is confirmed by the pidfd afterwards, so a
 * recycled pid is never believed. */
#pragma once

#include <stdint.h>

struct namespaces {
	uint64_t mount, pid, ipc, cgroup; /* inode numbers in nsfs */
};

/* Of the living process behind PIDFD; when its leader has exited already, of one of its threads.
 * -ESRCH when nothing of it lives. Needs CAP_SYS_PTRACE. */
int namespaces_of(int proc, int pidfd, struct namespaces *ret_namespaces);

/* The pid behind PIDFD in the host's pid namespace; -ESRCH once it is reaped. */
int process_id(int proc, int pidfd);

/* Of the calling process. */
int namespaces_of_self(int proc, struct namespaces *ret_namespaces);

/* A descriptor of the mount namespace of the process behind PIDFD. */
int mount_namespace_open(int proc, int pidfd);

/* Enters the mount namespace of the process behind PIDFD. Only in a worker: there is no way back.
 * Kernel 5.8; needs CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SYS_PTRACE. */
int mount_namespace_enter(int pidfd);
