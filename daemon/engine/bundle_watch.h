/* Notices the bundle of a container that is about to start, some milliseconds after the engine has
 * mounted its volumes and long before its first instruction. Inotify on containerd's directories,
 * which may appear later than we do. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "daemon/engine/facts/runtime_bundle.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define BUNDLE_WATCHES_MAX 16
#define BUNDLE_PENDING_MAX 1024

struct bundle_watch_owner {
	void *context;
	/* The bundle of container ID is whole and mounts volumes of ours. DIRECTORY is below the
	 * engine's root. */
	void (*on_bundle)(void *context, const char *id, const char *directory,
		const struct runtime_bundle *bundle);
	/* A bundle or a directory cannot be watched. */
	void (*on_trouble)(void *context, const struct mayfly_error *err);
};

struct bundle_pending;

struct bundle_watch {
	uv_poll_t poll;
	uv_timer_t retry;
	int inotify; /* -1: closed */
	const struct engine_place *place;
	struct bundle_watch_owner owner;
	struct {
		int number;
		bool is_namespace; /* bundles appear in it */
		char *path;
	} watched[BUNDLE_WATCHES_MAX];
	size_t watched_count;
	struct bundle_pending *pending;
	size_t pending_count;
};

/* Starts to watch. WATCH must live until the loop has closed its handles. Returns 0 or a negative
 * errno. */
int bundle_watch_open(struct bundle_watch *watch, uv_loop_t *loop, const struct engine_place *place,
	const struct bundle_watch_owner *owner, struct mayfly_error *err);

/* PLACE's root is another one: looks at everything again. */
void bundle_watch_restart(struct bundle_watch *watch);

/* Safe on one that was never opened and is all zero but for `inotify`, -1. */
void bundle_watch_close(struct bundle_watch *watch);
