/* Runs a program on a kernel that seems to lack something: what it adds answers as if it were not there.
 * Usage: deny_calls PROFILE PROGRAM [ARGUMENT...]
 *   older-kernel          before 6.5: no SO_PEERPIDFD, PIDFD_GET_INFO, statmount, listmount
 *   no-fanotify           built without fanotify
 *   no-permission-events  with fanotify, without its permission events (Docker Desktop's)
 * For tests of fallbacks; the program and its children stay behind the filter. Needs CAP_SYS_ADMIN. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Newer than libseccomp 2.5.4 and the headers of Debian 12. */
#define CALL_STATMOUNT	      457
#define CALL_LISTMOUNT	      458
#define SO_PASSPIDFD_6_5      76
#define SO_PEERPIDFD_6_5      77
#define PIDFD_IOCTL_TYPE      0xFF
#define PIDFD_INFO_NUMBER     11
#define IOCTL_TYPE_AND_NUMBER 0xFFFF

static int deny_older_kernel(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp peer_pidfd[] = { SCMP_A1(SCMP_CMP_EQ, SOL_SOCKET),
		SCMP_A2(SCMP_CMP_EQ, SO_PEERPIDFD_6_5) };
	const struct scmp_arg_cmp pass_pidfd[] = { SCMP_A1(SCMP_CMP_EQ, SOL_SOCKET),
		SCMP_A2(SCMP_CMP_EQ, SO_PASSPIDFD_6_5) };
	/* Whatever size of the struct is asked for. */
	const struct scmp_arg_cmp pidfd_info[] = { SCMP_A1(SCMP_CMP_MASKED_EQ,
		IOCTL_TYPE_AND_NUMBER, PIDFD_IOCTL_TYPE << 8 | PIDFD_INFO_NUMBER) };
	int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL_STATMOUNT, 0);

	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL_LISTMOUNT, 0);
	if (r == 0)
		r = seccomp_rule_add_array(
			filter, SCMP_ACT_ERRNO(ENOPROTOOPT), SCMP_SYS(getsockopt), 2, peer_pidfd);
	if (r == 0)
		r = seccomp_rule_add_array(
			filter, SCMP_ACT_ERRNO(ENOPROTOOPT), SCMP_SYS(setsockopt), 2, pass_pidfd);
	if (r == 0)
		r = seccomp_rule_add_array(
			filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1, pidfd_info);
	return r;
}

static int deny_fanotify(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(fanotify_init), 0);
}

/* The kernel checks the mask of a mark only. */
static int deny_permission_events(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(fanotify_mark), 0);
}

static const struct {
	const char *name;
	int (*deny)(scmp_filter_ctx filter);
} profiles[] = {
	{ "older-kernel", deny_older_kernel },
	{ "no-fanotify", deny_fanotify },
	{ "no-permission-events", deny_permission_events },
};

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int (*deny)(scmp_filter_ctx filter) = NULL;

	for (size_t i = 0; argc > 2 && i < sizeof profiles / sizeof profiles[0]; i++)
		if (strcmp(argv[1], profiles[i].name) == 0)
			deny = profiles[i].deny;
	if (!deny) {
		(void)fprintf(stderr, "usage: deny_calls PROFILE PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	/* The program's own filter and privileges are what it makes of them. */
	if (!filter || seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) < 0 || deny(filter) < 0 ||
		seccomp_load(filter) < 0) {
		(void)fprintf(stderr, "deny_calls: the filter could not be loaded\n");
		return EXIT_FAILURE;
	}
	seccomp_release(filter);
	(void)execvp(argv[2], argv + 2);
	(void)fprintf(stderr, "deny_calls: %s: %s\n", argv[2], strerror(errno));
	return EXIT_FAILURE;
}
