#include "daemon/privilege/landlock_rules.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#define ACCESS_FS_TRUNCATE  (UINT64_C(1) << 14) /* ABI 3, kernel 6.2 */
#define ACCESS_FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5, kernel 6.10 */

#define ACCESS_NET_BIND_TCP    (UINT64_C(1) << 0) /* ABI 4, kernel 6.7 */
#define ACCESS_NET_CONNECT_TCP (UINT64_C(1) << 1)
#define RULE_NET_PORT	       2

struct net_ruleset_attributes {
	uint64_t handled_access_fs, handled_access_net;
};
struct net_port_attributes {
	uint64_t allowed_access, port;
};

const uint64_t LANDLOCK_WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
				LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |
				LANDLOCK_ACCESS_FS_REFER | ACCESS_FS_TRUNCATE | ACCESS_FS_IOCTL_DEV;
const uint64_t LANDLOCK_EXECUTE = LANDLOCK_ACCESS_FS_EXECUTE;
const uint64_t LANDLOCK_READ_FILE = LANDLOCK_ACCESS_FS_READ_FILE;
const uint64_t LANDLOCK_READ_DIRECTORY = LANDLOCK_ACCESS_FS_READ_DIR;

static uint64_t rights_known_by(int abi)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= ACCESS_FS_TRUNCATE;
	if (abi >= 5)
		rights |= ACCESS_FS_IOCTL_DEV;
	return rights;
}

/* The kernel refuses rights for directories in a rule about a file. */
static uint64_t rights_fitting(int fd, uint64_t rights)
{
	struct stat status;

	if (fstat(fd, &status) == 0 && !S_ISDIR(status.st_mode))
		rights &= LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
			  LANDLOCK_ACCESS_FS_READ_FILE | ACCESS_FS_TRUNCATE | ACCESS_FS_IOCTL_DEV;
	return rights;
}

static int add_rule(
	int ruleset, const struct landlock_rule *rule, uint64_t known, struct mayfly_error *err)
{
	const struct landlock_path_beneath_attr beneath = {
		.allowed_access = rights_fitting(rule->fd, rule->allowed & known),
		.parent_fd = rule->fd,
	};

	if (beneath.allowed_access == 0)
		return 0;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0)
		return error_errno(err, -errno, "add a Landlock rule");
	return 0;
}

int landlock_restrict(
	uint64_t handled, const struct landlock_rule *rules, size_t count, struct mayfly_error *err)
{
	const int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attributes = { 0 };
	AUTO_FD ruleset = -1;
	uint64_t known;

	if (abi < 1)
		return 0;
	known = rights_known_by(abi) & handled;
	attributes.handled_access_fs = known;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
	if (ruleset < 0)
		return error_errno(err, -errno, "make a Landlock ruleset");
	for (size_t i = 0; i < count; i++) {
		const int r = add_rule(ruleset, &rules[i], known, err);
		if (r < 0)
			return r;
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return error_errno(err, -errno, "enter the Landlock sandbox");
	return abi;
}

int landlock_restrict_connections(const uint16_t *ports, size_t count, struct mayfly_error *err)
{
	const int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	const struct net_ruleset_attributes attributes = {
		.handled_access_net = ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP
	};
	AUTO_FD ruleset = -1;

	if (abi < 4)
		return 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
	if (ruleset < 0)
		return error_errno(err, -errno, "make a Landlock ruleset for connections");
	for (size_t i = 0; i < count; i++) {
		const struct net_port_attributes port = { .allowed_access = ACCESS_NET_CONNECT_TCP,
			.port = ports[i] };

		if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &port, 0) != 0)
			return error_errno(err, -errno, "add a Landlock rule for a port");
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return error_errno(err, -errno, "enter the Landlock sandbox for connections");
	return 1;
}
