#include "daemon/engine/sandbox.h"

#include "daemon/engine/facts/engine_root.h"
#include "daemon/privilege/drop.h"
#include "daemon/privilege/landlock_rules.h"
#include "daemon/privilege/seccomp_filter.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RULES_MAX 16

int sandbox_enter(struct mayfly_error *err)
{
	/* Safe because the engine's socket and files belong to uid 0: no capability is needed. */
	const struct drop_target nothing = { .uid = 0, .gid = 0, .capabilities = 0 };
	int r = privilege_drop(&nothing, err);

	if (r == 0)
		r = landlock_restrict(LANDLOCK_WRITE | LANDLOCK_EXECUTE, NULL, 0, err);
	if (r >= 0)
		r = seccomp_enter(SECCOMP_ENGINE, err);
	return r < 0 ? r : 0;
}

struct rules {
	struct landlock_rule rules[RULES_MAX];
	size_t count;
};

static void close_rules(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		/* Opened with O_PATH only. */
		(void)close(rules->rules[i].fd);
}

static bool allow_fd(struct rules *rules, int fd)
{
	if (fd < 0)
		return false;
	if (rules->count == RULES_MAX) {
		(void)close(fd); /* O_PATH */
		return false;
	}
	rules->rules[rules->count++] = (struct landlock_rule){
		.fd = fd,
		.allowed = LANDLOCK_READ_FILE | LANDLOCK_READ_DIRECTORY,
	};
	return true;
}

static bool allow(struct rules *rules, const struct engine_place *place, const char *path)
{
	return allow_fd(rules, root_open_path(place->root, path, ROOT_ALL_MOUNTS));
}

/* Parts of the engine's directory that an operator may have moved to another disk by a link. */
static void allow_parts(struct rules *rules, const struct engine_place *place)
{
	static const char *const parts[] = { "containers", "image", "overlay2", "fuse-overlayfs",
		"rootfs", "volumes" };
	char path[ENGINE_PATH_SIZE + 32];

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", place->data_root, parts[i]);
		(void)allow(rules, place, path); /* one that is not there needs no rule */
	}
}

/* The bundles' directory, or the nearest above it that is there, down to the first of its parts. */
static void allow_nearest(struct rules *rules, const struct engine_place *place, const char *path,
	const char *highest)
{
	char nearest[PATH_MAX];
	char *slash;

	(void)snprintf(nearest, sizeof nearest, "%s", path);
	while (strlen(nearest) >= strlen(highest) && !allow(rules, place, nearest)) {
		slash = strrchr(nearest, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

int sandbox_narrow(const struct engine_place *place, struct mayfly_error *err)
{
	struct rules rules = { .count = 0 };
	char bundles[PATH_MAX];
	int r;

	(void)allow(&rules, place, place->data_root);
	allow_parts(&rules, place);
	(void)snprintf(bundles, sizeof bundles, "%s/%s", place->exec_root, BUNDLES_OF_ENGINE);
	allow_nearest(&rules, place, bundles, place->exec_root);
	allow_nearest(&rules, place, BUNDLES_OF_CONTAINERD, "/run/containerd");
	/* Our own: cgroups of processes. */
	(void)allow_fd(&rules, open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
	r = landlock_restrict(
		LANDLOCK_READ_FILE | LANDLOCK_READ_DIRECTORY, rules.rules, rules.count, err);
	close_rules(&rules);
	return r < 0 ? error_within(err, "allow reading the engine's directory only") : 0;
}
