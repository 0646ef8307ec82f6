#include "daemon/broker/wire/peer_process.h"

#include "daemon/broker/identity/container_process.h"
#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A listening socket with a connection that a child has made: accepted, in *RET_ACCEPTED. */
static pid_t connect_from_child(int *ret_accepted)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(sa_family_t);
	AUTO_FD listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	/* The kernel chooses an abstract name. */
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	length = sizeof address;
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	pid = fork();
	if (pid == 0) {
		const int own = socket(AF_UNIX, SOCK_STREAM, 0);

		(void)connect(own, (struct sockaddr *)&address, length);
		for (;;)
			(void)pause();
	}
	*ret_accepted = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(*ret_accepted, 0);
	return pid;
}

static void end(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(the_process_that_has_connected)
{
	AUTO_FD accepted = -1;
	const pid_t child = connect_from_child(&accepted);
	bool is_proved = false;
	pid_t pid = 0;
	AUTO_FD pidfd = peer_process_open(accepted, &pid, &is_proved);

	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pid, child);
	ck_assert_int_eq(process_pid(pidfd), child);
	ck_assert(process_is_alive(pidfd));
	end(child);
	ck_assert(!process_is_alive(pidfd));
	ck_assert_int_eq(process_pid(pidfd), -1);
}
END_TEST

/* Since 6.16 there is a pidfd of a process that has been reaped, before that there is none; in no
 * case is it one that lives. */
START_TEST(one_that_has_ended_is_not_taken_for_alive)
{
	AUTO_FD accepted = -1;
	const pid_t child = connect_from_child(&accepted);
	bool is_proved;
	pid_t pid;
	AUTO_FD pidfd = -1;

	end(child);
	pidfd = peer_process_open(accepted, &pid, &is_proved);
	ck_assert(pidfd < 0 || !process_is_alive(pidfd));
}
END_TEST

START_TEST(processes_have_numbers_of_their_own)
{
	AUTO_FD accepted = -1;
	const pid_t child = connect_from_child(&accepted);
	AUTO_FD own = (int)syscall(SYS_pidfd_open, getpid(), 0);
	AUTO_FD again = (int)syscall(SYS_pidfd_open, getpid(), 0);
	bool is_proved;
	pid_t pid;
	AUTO_FD other = peer_process_open(accepted, &pid, &is_proved);

	if (process_ids_are_unique()) {
		ck_assert_uint_eq(process_unique_id(own), process_unique_id(again));
		ck_assert_uint_ne(process_unique_id(own), process_unique_id(other));
	}
	ck_assert_int_eq(process_pid(own), getpid());
	end(child);
}
END_TEST

START_TEST(what_is_no_socket_has_no_peer)
{
	AUTO_FD file = (int)syscall(SYS_pidfd_open, getpid(), 0);
	bool is_proved;
	pid_t pid;

	ck_assert_int_eq(peer_process_open(file, &pid, &is_proved), -ENOTSOCK);
	ck_assert_int_eq(process_pid(-1), -1);
	ck_assert_uint_eq(process_unique_id(-1), 0);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, the_process_that_has_connected);
	tcase_add_test(cases, one_that_has_ended_is_not_taken_for_alive);
	tcase_add_test(cases, processes_have_numbers_of_their_own);
	tcase_add_test(cases, what_is_no_socket_has_no_peer);
}

int main(void)
{
	return unit_test_run("peer_process", add);
}
