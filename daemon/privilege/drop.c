#include "daemon/privilege/drop.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCKED_SECUREBITS                                                 \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |  \
		SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | \
		SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

void process_harden(void)
{
	const struct rlimit none = { 0, 0 };

	/* Undumpable also means: no ptrace and no /proc/PID/mem by another process of this uid. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
}

static int capabilities_set(uint64_t permitted)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	for (int i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(permitted >> (32 * i));
		data[i].effective = data[i].permitted;
	}
	return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

static int capabilities_get(uint64_t *ret_permitted, uint64_t *ret_inheritable)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) != 0)
		return -errno;
	*ret_permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	*ret_inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	return 0;
}

static bool capability_is_known(int capability)
{
	return prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
}

static int empty_bounding_set(void)
{
	for (int capability = 0; capability_is_known(capability); capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
			return -errno;
	return 0;
}

static int drop(const struct drop_target *target, struct mayfly_error *err)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return error_errno(err, -errno, "set no_new_privs");
	/* Both need CAP_SETPCAP, so they come before the capabilities go. */
	r = empty_bounding_set();
	if (r < 0)
		return error_errno(err, r, "empty the capability bounding set");
	if (prctl(PR_SET_SECUREBITS, LOCKED_SECUREBITS, 0, 0, 0) != 0)
		return error_errno(err, -errno, "lock the secure bits");
	if (setgroups(0, NULL) != 0 || setresgid(target->gid, target->gid, target->gid) != 0 ||
		setresuid(target->uid, target->uid, target->uid) != 0)
		return error_errno(err, -errno, "become uid %u, gid %u", target->uid, target->gid);
	r = capabilities_set(target->capabilities);
	if (r < 0)
		return error_errno(
			err, r, "cut the capabilities to %#jx", (uintmax_t)target->capabilities);
	/* The kernel made the process dumpable again when its ids changed. */
	process_harden();
	return 0;
}

static bool ids_are(const struct drop_target *target)
{
	uid_t uid[3];
	gid_t gid[3];

	if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (uid[i] != target->uid || gid[i] != target->gid)
			return false;
	return getgroups(0, NULL) == 0;
}

static int prove(const struct drop_target *target, struct mayfly_error *err)
{
	uint64_t permitted, inheritable;

	if (!ids_are(target))
		return error_set(err, -EPERM, "ids are not what they were set to");
	if (capabilities_get(&permitted, &inheritable) < 0 || permitted != target->capabilities ||
		inheritable != 0)
		return error_set(err, -EPERM, "capabilities are not what they were cut to");
	if (target->uid != 0 && setresuid(0, 0, 0) == 0)
		return error_set(err, -EPERM, "uid 0 could be regained");
	for (int capability = 0; capability_is_known(capability); capability++) {
		const uint64_t more = target->capabilities | CAPABILITY(capability);

		if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 0)
			return error_set(err, -EPERM, "capability %d is still in the bounding set",
				capability);
		if (more != target->capabilities && capabilities_set(more) == 0)
			return error_set(
				err, -EPERM, "capability %d could be regained", capability);
	}
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return error_set(err, -EPERM, "the process is dumpable");
	return 0;
}

int privilege_drop(const struct drop_target *target, struct mayfly_error *err)
{
	int r = drop(target, err);

	if (r < 0)
		return error_within(err, "drop privileges");
	r = prove(target, err);
	return r < 0 ? error_within(err, "prove that privileges were dropped") : 0;
}
