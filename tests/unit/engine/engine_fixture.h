/* A directory tree of a test's own: made below $TMPDIR, filled, removed. And an engine's directory
 * in it, with containers as dockerd writes them. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "proto/cleanup.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE_PLUGIN "mayfly"
#define ID_A	       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B	       "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_C	       "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

struct fixture {
	char path[128]; /* of the directory */
	int root;	/* the same, O_PATH */
	struct engine_place place;
};

static inline void fixture_open(struct fixture *fixture)
{
	const char *base = getenv("TMPDIR");

	*fixture = (struct fixture){ 0 };
	(void)snprintf(
		fixture->path, sizeof fixture->path, "%s/mayfly-unit-XXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fixture->path));
	fixture->root = open(fixture->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fixture->root, 0);
	fixture->place = (struct engine_place){
		.root = fixture->root,
		.plugin_name = FIXTURE_PLUGIN,
		.socket = "/run/docker.sock",
		.exec_root = "/run/docker",
		.data_root = "/data",
	};
}

static inline int fixture_remove_one(
	const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)where;
	return kind == FTW_DP ? rmdir(path) : unlink(path);
}

static inline void fixture_close(struct fixture *fixture)
{
	fd_close_p(&fixture->root);
	ck_assert_int_eq(nftw(fixture->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The path of NAME in the host's tree. Valid until the next call. */
static inline const char *fixture_path(const struct fixture *fixture, const char *name)
{
	static char path[8192];

	(void)snprintf(path, sizeof path, "%s/%s", fixture->path, name);
	return path;
}

/* Makes the directories above NAME, and NAME itself when it ends in a slash. */
static inline void fixture_parents(const struct fixture *fixture, const char *name)
{
	char path[8192];

	(void)snprintf(path, sizeof path, "%s", fixture_path(fixture, name));
	for (char *slash = path + strlen(fixture->path) + 1; (slash = strchr(slash, '/'));
		slash++) {
		*slash = '\0';
		(void)mkdir(path, 0755); /* it may be there */
		*slash = '/';
	}
}

static inline void fixture_write(
	const struct fixture *fixture, const char *name, const void *bytes, size_t length)
{
	FILE *file;

	fixture_parents(fixture, name);
	file = fopen(fixture_path(fixture, name), "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
	ck_assert_int_eq(fclose(file), 0);
}

static inline void fixture_text(const struct fixture *fixture, const char *name, const char *text)
{
	fixture_write(fixture, name, text, strlen(text));
}

static inline void fixture_link(const struct fixture *fixture, const char *name, const char *target)
{
	fixture_parents(fixture, name);
	ck_assert_int_eq(symlink(target, fixture_path(fixture, name)), 0);
}

struct fixture_container {
	const char *id;
	const char *name;
	const char *volume;  /* of our driver, at /run/secrets; NULL: none */
	const char *labels;  /* JSON, NULL: {} */
	const char *created; /* NULL: long ago */
	const char *host;    /* further members of hostconfig.json, with a comma before */
	const char *user;    /* NULL: "" */
	const char *driver;  /* NULL: overlay2 */
	const char *health;  /* NULL: no check */
	int pid;	     /* 0: not running */
	int has_been_started;
};

/* As dockerd does it: a new file that takes the old one's place. */
static inline void fixture_replace(
	const struct fixture *fixture, const char *name, const char *text)
{
	char temporary[8192];

	fixture_text(fixture, "temporary", text);
	fixture_parents(fixture, name);
	(void)snprintf(temporary, sizeof temporary, "%s", fixture_path(fixture, "temporary"));
	ck_assert_int_eq(rename(temporary, fixture_path(fixture, name)), 0);
}

static inline void fixture_container(
	const struct fixture *fixture, const struct fixture_container *container)
{
	char name[256], mount[512] = "", health[64] = "", text[16384];

	if (container->volume)
		(void)snprintf(mount, sizeof mount,
			"\"/run/"
			"secrets\":{\"Type\":\"volume\",\"Name\":\"%s\",\"Driver\":"
			"\"" FIXTURE_PLUGIN "\",\"Destination\":\"/run/secrets\",\"Source\":\"\"}",
			container->volume);
	if (container->health)
		(void)snprintf(health, sizeof health, ",\"Health\":{\"Status\":\"%s\"}",
			container->health);
	(void)snprintf(text, sizeof text,
		"{\"State\":{\"Running\":%s,\"Pid\":%d,\"StartedAt\":\"0001-01-01T00:00:00Z\"%s},"
		"\"ID\":\"%s\",\"Created\":\"%s\",\"Config\":{\"User\":\"%s\",\"Image\":\"shop/"
		"web\","
		"\"Labels\":%s},\"Image\":\"sha256:01\",\"Name\":\"/%s\",\"Driver\":\"%s\","
		"\"HasBeenStartedBefore\":%s,\"MountPoints\":{%s}}",
		container->pid ? "true" : "false", container->pid, health, container->id,
		container->created ? container->created : "2020-01-01T00:00:00.5Z",
		container->user ? container->user : "",
		container->labels ? container->labels : "{}", container->name,
		container->driver ? container->driver : "overlay2",
		container->has_been_started ? "true" : "false", mount);
	(void)snprintf(name, sizeof name, "data/containers/%s/config.v2.json", container->id);
	fixture_replace(fixture, name, text);
	(void)snprintf(text, sizeof text, "{\"Privileged\":false,\"ReadonlyRootfs\":true%s}",
		container->host ? container->host : "");
	(void)snprintf(name, sizeof name, "data/containers/%s/hostconfig.json", container->id);
	fixture_replace(fixture, name, text);
}
