#include "daemon/broker/broker_sandbox.h"

#include "daemon/broker/https/wiping_memory.h"
#include "daemon/privilege/drop.h"
#include "daemon/privilege/landlock_rules.h"
#include "daemon/privilege/seccomp_filter.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <nss.h>
#include <string.h>
#include <sys/stat.h>

#define DNS_PORT 53

/* Names are looked up in /etc/hosts and by DNS, which the C library has in itself: whatever else
 * nsswitch.conf names would be loaded from disk, which the sandbox forbids. */
int broker_prepare_to_connect(const struct broker_birth *birth, struct mayfly_error *err)
{
	if (birth->ports_count == 0)
		return 0;
	if (__nss_configure_lookup("hosts", "files dns") != 0)
		return error_errno(err, -errno, "choose how names are looked up");
	return wiping_memory_install(err);
}

/* To the servers of sets of provider `vault`, and to name servers. */
static int restrict_connections(const struct broker_birth *birth, struct mayfly_error *err)
{
	uint16_t ports[LAUNCH_PLAN_PORTS_MAX + 1] = { DNS_PORT };
	int r;

	if (birth->ports_count == 0)
		return 0;
	memcpy(ports + 1, birth->ports, birth->ports_count * sizeof ports[0]);
	r = landlock_restrict_connections(ports, birth->ports_count + 1, err);
	return r < 0 ? r : 0;
}

int broker_enter_sandbox(
	const struct broker_birth *birth, const char *state_path, struct mayfly_error *err)
{
	AUTO_FD state = open(state_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct landlock_rule rules[] = { { .fd = state, .allowed = LANDLOCK_WRITE } };
	struct drop_target target = { 0 };
	struct stat owner;
	int r;

	if (state < 0 || fstat(state, &owner) != 0)
		return error_errno(err, -errno, "open %s", state_path);
	target.uid = owner.st_uid;
	target.gid = owner.st_gid;
	if (target.uid == 0)
		return error_set(
			err, -EPERM, "%s must belong to the broker's own user", state_path);
	r = privilege_drop(&target, err);
	if (r == 0)
		/* Reading is not handled: the guard's events are opened with this process's rights.
		 */
		r = landlock_restrict(LANDLOCK_WRITE | LANDLOCK_EXECUTE, rules, 1, err);
	if (r >= 0)
		r = restrict_connections(birth, err);
	if (r < 0)
		return r;
	return seccomp_enter(
		birth->ports_count > 0 ? SECCOMP_BROKER_OUTGOING : SECCOMP_BROKER, err);
}
