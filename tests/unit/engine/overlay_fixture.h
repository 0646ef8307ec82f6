/* A fixture on a tmpfs of its own, so that a container's root file system can be a real overlay.
 * Needs to be root; the mounts go with the process's own mount namespace. */
#pragma once

#include "engine_fixture.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

/* For main(): 0, or what it shall return. */
static inline int overlay_fixture_prepare(void)
{
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	printf("1..0 # skipped: needs CAP_SYS_ADMIN\n");
	return getenv("MAYFLY_TESTS_MUST_RUN") ? EXIT_FAILURE : 77;
}

static inline void overlay_fixture_open(struct fixture *fixture)
{
	fixture_open(fixture);
	fd_close_p(&fixture->root);
	ck_assert_int_eq(mount("tmpfs", fixture->path, "tmpfs", 0, NULL), 0);
	fixture->root = open(fixture->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fixture->root, 0);
	fixture->place.root = fixture->root;
	fixture_text(fixture, "image/etc/passwd", "root:x:0:0::/:\napp:x:1000:1001::/:\n");
	fixture_text(fixture, "image/etc/group", "root:x:0:\nweb:x:2000:\n");
	fixture_parents(fixture, "image/run/");
	fixture_parents(fixture, "image/var/");
	fixture_link(fixture, "image/var/run", "/run");
}

/* MOUNT_ID of container ID, whose layers are there; mounted when IS_MOUNTED. */
static inline void overlay_fixture_layer(
	const struct fixture *fixture, const char *id, const char *mount_id, int is_mounted)
{
	char name[512], options[1024];

	(void)snprintf(name, sizeof name, "data/image/overlay2/layerdb/mounts/%s/mount-id", id);
	fixture_text(fixture, name, mount_id);
	static const char *const parts[] = { "diff", "work", "merged" };
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		(void)snprintf(name, sizeof name, "data/overlay2/%s/%s/", mount_id, parts[i]);
		fixture_parents(fixture, name);
	}
	if (!is_mounted)
		return;
	(void)snprintf(options, sizeof options,
		"lowerdir=%s/image,upperdir=%s/data/overlay2/%s/diff,workdir=%s/data/overlay2/%s/"
		"work",
		fixture->path, fixture->path, mount_id, fixture->path, mount_id);
	(void)snprintf(name, sizeof name, "data/overlay2/%s/merged", mount_id);
	ck_assert_int_eq(mount("overlay", fixture_path(fixture, name), "overlay", 0, options), 0);
}

static inline void overlay_fixture_close(struct fixture *fixture)
{
	fd_close_p(&fixture->root);
	/* Everything below goes along. */
	ck_assert_int_eq(umount2(fixture->path, MNT_DETACH), 0);
	ck_assert_int_eq(rmdir(fixture->path), 0);
}
