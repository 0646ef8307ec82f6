/* The process at the other end of a unix socket, as the kernel says. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The process that has connected SOCKET as a pidfd that the caller owns, or a negative errno; its
 * pid in *RET_PID. *RET_IS_PROVED: the pidfd was made when it connected (SO_PEERPIDFD, 6.5); false:
 * it was opened by SO_PEERCRED's pid, which may have been given to another process since.
 * Since 6.16 there are pidfds of peers that have been reaped: ask process_is_alive(). */
int peer_process_open(int socket, pid_t *ret_pid, bool *ret_is_proved);

/* The pid behind PIDFD, from /proc/self/fdinfo; -1 when its process has been reaped. For kernels where
 * pidfds cannot be compared. */
pid_t process_pid(int pidfd);

/* True where each process of a boot has a number of its own (the inode of pidfs, 6.9); before that the
 * kernel gives all pidfds the same. */
bool process_ids_are_unique(void);
/* That number, or 0. PIDFD is borrowed. */
uint64_t process_unique_id(int pidfd);
