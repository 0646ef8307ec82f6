#include "daemon/privilege/seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Newer than libseccomp 2.5.4; the numbers are the same on all architectures. */
#define CALL_LISTMOUNT 458
#define CALL_STATMOUNT 457

/* What a C program with threads, timers and descriptors cannot do without. */
static const int everyone[] = {
	SCMP_SYS(brk),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(eventfd2),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	SCMP_SYS(futex),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getpid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getuid),
	SCMP_SYS(lseek),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(nanosleep),
	SCMP_SYS(newfstatat),
	SCMP_SYS(pipe2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(pread64),
	SCMP_SYS(prlimit64),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(statx),
	SCMP_SYS(sysinfo),
	SCMP_SYS(tgkill),
	SCMP_SYS(uname),
	SCMP_SYS(write),
	SCMP_SYS(writev),
};

static const int broker_only[] = {
	SCMP_SYS(accept4),
	SCMP_SYS(access),
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(faccessat2),
	SCMP_SYS(fallocate),
	SCMP_SYS(fchmod),
	SCMP_SYS(fdatasync),
	SCMP_SYS(flock),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fsync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents64),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(listen),
	SCMP_SYS(lstat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(stat),
	SCMP_SYS(statfs),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	/* uv_pipe_open and the guard's PIDFD_GET_INFO */
	SCMP_SYS(ioctl),
	/* libuv names and ranks the threads of its pool; SQLite reads its own uid */
	SCMP_SYS(getpriority),
	SCMP_SYS(setpriority),
};

/* What libcurl, OpenSSL and the resolver need beside. No listening, no accepting of connections
 * from the network: bind() is the resolver's, of a netlink socket. */
static const int outgoing_only[] = {
	SCMP_SYS(bind),
	SCMP_SYS(connect),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(socketpair),
};

static const int engine_only[] = {
	SCMP_SYS(access),
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(connect),
	SCMP_SYS(fstatfs),
	SCMP_SYS(getdents64),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(ioctl),
	SCMP_SYS(lstat),
	SCMP_SYS(openat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(socketpair),
	SCMP_SYS(stat),
	SCMP_SYS(statfs),
	/* Landlock is narrowed once the engine has said where its directory is. */
	SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_create_ruleset),
	SCMP_SYS(landlock_restrict_self),
};

static const int mounter_only[] = {
	SCMP_SYS(clone),
	SCMP_SYS(fallocate),
	SCMP_SYS(fanotify_mark),
	SCMP_SYS(fchdir),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(fgetxattr),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(fsmount),
	SCMP_SYS(fsopen),
	SCMP_SYS(fspick),
	SCMP_SYS(fstatfs),
	SCMP_SYS(ftruncate),
	SCMP_SYS(getdents64),
	SCMP_SYS(getppid),
	SCMP_SYS(kill),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(openat2),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(prctl),
	SCMP_SYS(pwrite64),
	SCMP_SYS(readlinkat),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(socketpair),
	SCMP_SYS(symlinkat),
	SCMP_SYS(umount2),
	SCMP_SYS(unlinkat),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	/* PIDFD_GET_INFO and the namespaces of a pidfd */
	SCMP_SYS(ioctl),
	CALL_LISTMOUNT,
	CALL_STATMOUNT,
};

#ifdef MAYFLY_SANITIZED
/* The leak checker stops its process from a copy of it that reads /proc: undumpable and behind the
 * filter that ends in an endless loop instead of an exit. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
	return "detect_leaks=0";
}

/* What the sanitizers' runtime needs to report. */
static const int sanitizer[] = {
	SCMP_SYS(clone),
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(mmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(personality),
	SCMP_SYS(pipe),
	SCMP_SYS(prctl),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(ptrace),
	SCMP_SYS(readlink),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(stat),
	SCMP_SYS(unlink),
	SCMP_SYS(wait4),
};
#endif

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
		/* EEXIST: both lists name it. EDOM: not a call of this architecture. */
		if (r < 0 && r != -EEXIST && r != -EDOM)
			return r;
	}
	return 0;
}

/* Memory can be written or executed, not both. */
static int allow_memory(scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

/* Only unix stream sockets: the engine's. */
static int allow_engine_arguments(scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(
		filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));

	/* uid 0 owns most of the host's files: it may open none for writing, with or without
	 * Landlock. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
	/* libcurl and glibc name their threads. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
			SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	return r;
}

static int allow_broker_arguments(scmp_filter_ctx filter)
{
	return seccomp_rule_add(
		filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
}

/* Sockets of the internet, and the kernel's list of addresses (netlink), which the resolver reads.
 * A unix one could reach an engine: there is none, and glibc's name cache is done without. What
 * glibc would load from disk does not get executable memory: it goes on without. */
static int allow_outgoing_arguments(scmp_filter_ctx filter)
{
	static const unsigned families[] = { AF_INET, AF_INET6, AF_NETLINK };
	int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
		SCMP_A0(SCMP_CMP_EQ, AF_UNIX));

	for (size_t i = 0; i < sizeof families / sizeof families[0] && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, families[i]));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mmap), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	return r;
}

/* A worker enters mount namespaces, never another kind. */
static int allow_mounter_arguments(scmp_filter_ctx filter)
{
	return seccomp_rule_add(
		filter, SCMP_ACT_ALLOW, SCMP_SYS(setns), 1, SCMP_A1(SCMP_CMP_EQ, CLONE_NEWNS));
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int add_rules(scmp_filter_ctx filter, enum seccomp_role role)
{
	int r = allow(filter, everyone, COUNT(everyone));

	if (r == 0)
		r = allow_memory(filter);
#ifdef MAYFLY_SANITIZED
	if (r == 0)
		r = allow(filter, sanitizer, COUNT(sanitizer));
#endif
	if (r != 0)
		return r;
	switch (role) {
	case SECCOMP_BROKER:
		r = allow(filter, broker_only, COUNT(broker_only));
		return r == 0 ? allow_broker_arguments(filter) : r;
	case SECCOMP_BROKER_OUTGOING:
		r = allow(filter, broker_only, COUNT(broker_only));
		if (r == 0)
			r = allow(filter, outgoing_only, COUNT(outgoing_only));
		if (r == 0)
			r = allow_broker_arguments(filter);
		return r == 0 ? allow_outgoing_arguments(filter) : r;
	case SECCOMP_ENGINE:
		r = allow(filter, engine_only, COUNT(engine_only));
		return r == 0 ? allow_engine_arguments(filter) : r;
	case SECCOMP_MOUNTER:
		r = allow(filter, mounter_only, COUNT(mounter_only));
		return r == 0 ? allow_mounter_arguments(filter) : r;
	case SECCOMP_ROLE_INVALID:
		break;
	}
	return -EINVAL;
}

int seccomp_enter(enum seccomp_role role, struct mayfly_error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!filter)
		return error_errno(err, -ENOMEM, "make a seccomp filter");
	r = add_rules(filter, role);
	/* A tree instead of a list: a call costs a few comparisons, not sixty. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r == 0 ? 0 : error_errno(err, r, "enter the seccomp filter");
}
