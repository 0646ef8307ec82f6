/* Makes a running process carry out one system call, as an attacker would who has taken it over:
 * what its sandbox says to that is seen in the process itself. Root only (it traces).
 *   inject_call PID create PATH | read PATH | connect-internet | execute PATH | close NUMBER
 *   inject_call PID socket FAMILY | connect NUMBER:PORT (on this machine)
 * Prints "ok NUMBER", "refused NAME-OF-ERRNO" or "killed NAME-OF-SIGNAL"; exit status 77 where the
 * processor is another than x86-64. */
#include <stdio.h>

#ifndef __x86_64__
int main(void)
{
	(void)puts("written for x86-64");
	return 77;
}
#else
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define PATH_BELOW_STACK 1024
#define SYSCALL_STOP	 (SIGTRAP | 0x80)

/* Waits for the next stop of PID. Prints how it ended and exits when it did. */
static int next_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		exit(1);
	if (WIFSIGNALED(status)) {
		(void)printf("killed %s\n", sigabbrev_np(WTERMSIG(status)));
		exit(0);
	}
	if (WIFEXITED(status)) {
		(void)printf("ended %d\n", WEXITSTATUS(status));
		exit(0);
	}
	return WSTOPSIG(status);
}

static void go_on(pid_t pid)
{
	if (ptrace(PTRACE_SYSCALL, pid, 0, 0) != 0) {
		perror("PTRACE_SYSCALL");
		exit(1);
	}
}

/* Runs PID to the entry of its next system call. */
static void run_to_entry(pid_t pid)
{
	struct __ptrace_syscall_info info = { 0 };

	do {
		go_on(pid);
		if (next_stop(pid) != SYSCALL_STOP)
			continue;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0)
			exit(1);
	} while (info.op != PTRACE_SYSCALL_INFO_ENTRY);
}

static bool fill(struct user_regs_struct *regs, const char *what, const char *argument)
{
	const uint64_t path = regs->rsp - PATH_BELOW_STACK;

	if (strcmp(what, "create") == 0 || strcmp(what, "read") == 0) {
		regs->orig_rax = SYS_openat;
		regs->rdi = (uint64_t)AT_FDCWD;
		regs->rsi = path;
		regs->rdx = what[0] == 'c' ? O_WRONLY | O_CREAT : O_RDONLY;
		regs->r10 = 0600;
	} else if (strcmp(what, "connect-internet") == 0) {
		regs->orig_rax = SYS_socket;
		regs->rdi = AF_INET;
		regs->rsi = SOCK_STREAM;
		regs->rdx = 0;
	} else if (strcmp(what, "execute") == 0) {
		regs->orig_rax = SYS_execve;
		regs->rdi = path;
		regs->rsi = 0;
		regs->rdx = 0;
	} else if (strcmp(what, "socket") == 0) {
		regs->orig_rax = SYS_socket;
		regs->rdi = strtoul(argument, NULL, 10);
		regs->rsi = SOCK_STREAM;
		regs->rdx = 0;
	} else if (strcmp(what, "connect") == 0) {
		regs->orig_rax = SYS_connect;
		regs->rdi = strtoul(argument, NULL, 10);
		regs->rsi = path;
		regs->rdx = sizeof(struct sockaddr_in);
	} else if (strcmp(what, "close") == 0) {
		regs->orig_rax = SYS_close;
		regs->rdi = strtoul(argument, NULL, 10);
	} else {
		return false;
	}
	return true;
}

static void write_bytes(pid_t pid, uint64_t address, const void *bytes, size_t length)
{
	struct iovec from = { (void *)(uintptr_t)bytes, length };
	struct iovec to = { (void *)(uintptr_t)address, from.iov_len };

	if (process_vm_writev(pid, &from, 1, &to, 1, 0) != (ssize_t)from.iov_len) {
		perror("process_vm_writev");
		exit(1);
	}
}

/* "NUMBER:PORT" */
static void write_address(pid_t pid, uint64_t at, const char *argument)
{
	const char *colon = strchr(argument, ':');
	const struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	write_bytes(pid, at, &address, sizeof address);
}

/* A refusal by the filter leaves the call undone and SIGSYS pending: the next stop tells. */
static void report(pid_t pid, int64_t result)
{
	go_on(pid);
	if (next_stop(pid) == SIGSYS) {
		(void)ptrace(PTRACE_CONT, pid, 0, SIGSYS);
		(void)next_stop(pid);
	}
	(void)ptrace(PTRACE_DETACH, pid, 0, 0);
	if (result < 0)
		(void)printf("refused %s\n", strerrorname_np((int)-result));
	else
		(void)printf("ok %ld\n", result);
}

/* The call that the process was about to make is made afterwards, as if nothing had been. */
static void inject(pid_t pid, const char *what, const char *argument)
{
	struct user_regs_struct saved, regs;
	int64_t result;

	run_to_entry(pid);
	if (ptrace(PTRACE_GETREGS, pid, 0, &saved) != 0)
		exit(1);
	regs = saved;
	if (!fill(&regs, what, argument))
		exit(2);
	if (argument[0] == '/')
		write_bytes(pid, saved.rsp - PATH_BELOW_STACK, argument, strlen(argument) + 1);
	if (strcmp(what, "connect") == 0)
		write_address(pid, saved.rsp - PATH_BELOW_STACK, argument);
	(void)ptrace(PTRACE_SETREGS, pid, 0, &regs);
	do
		go_on(pid);
	while (next_stop(pid) != SYSCALL_STOP);
	(void)ptrace(PTRACE_GETREGS, pid, 0, &regs);
	result = (int64_t)regs.rax;
	saved.rax = saved.orig_rax;
	saved.orig_rax = (unsigned long long)-1;
	saved.rip -= 2;
	(void)ptrace(PTRACE_SETREGS, pid, 0, &saved);
	report(pid, result);
}

int main(int argc, char **argv)
{
	const pid_t pid = argc > 2 ? atoi(argv[1]) : 0;

	if (pid <= 0)
		return 2;
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) != 0 ||
		ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0) {
		perror("trace");
		return 1;
	}
	(void)next_stop(pid);
	inject(pid, argv[2], argc > 3 ? argv[3] : "");
	return 0;
}
#endif
