#include "daemon/engine/bundle_watch.h"

#include "daemon/engine/facts/engine_root.h"
#include "daemon/engine/sandbox.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

/* containerd writes config.json in place, right after it has made the directory. */
#define RETRY_MS       2
#define PENDING_FOR_NS 1000000000

/* A bundle that was there before we were: older ones have started long ago. */
#define FRESH_S 10

#define WATCHED_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* The engine's namespace in containerd; with an id map its suffix follows. */
#define NAMESPACE "moby"

/* Directories can appear while we look for them. */
#define SURVEYS_MAX 8

struct bundle_pending {
	struct bundle_pending *next;
	int64_t until_ns;
	char id[CONTAINER_ID_LENGTH + 1];
	char directory[];
};

static int64_t now_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Returns whether BUNDLE is done with: told, of no interest, or hopeless. */
static bool try_bundle(struct bundle_watch *watch, const struct bundle_pending *pending)
{
	struct runtime_bundle bundle;
	struct mayfly_error error;
	const int r = runtime_bundle_read(watch->place, pending->directory, &bundle, &error);

	if (r == 0) {
		if (bundle.count > 0)
			watch->owner.on_bundle(
				watch->owner.context, pending->id, pending->directory, &bundle);
		return true;
	}
	if ((r == -ENOENT || r == -EBADMSG) && now_ns() < pending->until_ns)
		return false;
	/* A container that was gone again before its bundle was whole is no trouble. */
	if (r != -ENOENT)
		watch->owner.on_trouble(watch->owner.context, &error);
	return true;
}

static void try_all(struct bundle_watch *watch)
{
	struct bundle_pending **place = &watch->pending;

	while (*place) {
		struct bundle_pending *pending = *place;

		if (!try_bundle(watch, pending)) {
			place = &pending->next;
			continue;
		}
		*place = pending->next;
		watch->pending_count--;
		free(pending);
	}
	if (!watch->pending)
		(void)uv_timer_stop(&watch->retry); /* cannot fail */
}

static void on_retry(uv_timer_t *timer)
{
	try_all(timer->data);
}

static void begin(struct bundle_watch *watch, const char *namespace, const char *id)
{
	const size_t size = strlen(namespace) + 1 + strlen(id) + 1;
	struct bundle_pending *pending = calloc(1, sizeof *pending + size);
	struct mayfly_error error;

	if (!pending || watch->pending_count == BUNDLE_PENDING_MAX) {
		free(pending);
		(void)error_set(&error, -ENOSPC, "too many containers start at once");
		watch->owner.on_trouble(watch->owner.context, &error);
		return;
	}
	pending->until_ns = now_ns() + PENDING_FOR_NS;
	memcpy(pending->id, id, sizeof pending->id);
	(void)snprintf(pending->directory, size, "%s/%s", namespace, id);
	pending->next = watch->pending;
	watch->pending = pending;
	watch->pending_count++;
	/* Fails for a closing timer only. */
	(void)uv_timer_start(&watch->retry, on_retry, 0, RETRY_MS);
}

static void forget_watched(struct bundle_watch *watch, size_t i)
{
	free(watch->watched[i].path);
	watch->watched[i] = watch->watched[--watch->watched_count];
}

static bool is_watched(const struct bundle_watch *watch, int number, bool is_namespace)
{
	for (size_t i = 0; i < watch->watched_count; i++)
		if (watch->watched[i].number == number &&
			watch->watched[i].is_namespace == is_namespace)
			return true;
	return false;
}

/* Returns 1 when PATH is watched from here on, 0 when it was, or a negative errno. */
static int add(struct bundle_watch *watch, const char *path, bool is_namespace)
{
	AUTO_FD fd = root_open_path(watch->place->root, path, ROOT_ALL_MOUNTS);
	AUTO_FREE char *copy = strdup(path);
	char name[sizeof "/proc/self/fd/" + 12];
	int number;

	if (fd < 0)
		return fd;
	if (!copy)
		return -ENOMEM;
	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	number = inotify_add_watch(watch->inotify, name, WATCHED_EVENTS);
	if (number < 0)
		return -errno;
	if (is_watched(watch, number, is_namespace))
		return 0;
	if (watch->watched_count == BUNDLE_WATCHES_MAX)
		return -ENOSPC;
	watch->watched[watch->watched_count].number = number;
	watch->watched[watch->watched_count].is_namespace = is_namespace;
	watch->watched[watch->watched_count].path = ptr_take(&copy);
	watch->watched_count++;
	return 1;
}

static bool is_fresh(const struct bundle_watch *watch, const char *namespace, const char *id)
{
	char path[2 * PATH_MAX];
	struct stat status;

	(void)snprintf(path, sizeof path, "%s/%s", namespace, id);
	return root_stat(watch->place->root, path, &status) == 0 &&
	       status.st_mtim.tv_sec + FRESH_S >= time(NULL);
}

/* Calls EACH for every name in PATH. */
static int for_names(struct bundle_watch *watch, const char *path,
	void (*each)(struct bundle_watch *watch, const char *path, const char *name))
{
	AUTO_FD fd = root_open_directory(watch->place->root, path);
	struct dirent *item;
	DIR *directory;

	if (fd < 0)
		return fd;
	directory = fdopendir(fd);
	if (!directory)
		return -errno;
	(void)fd_take(&fd); /* closed by closedir() */
	while ((item = readdir(directory)))
		each(watch, path, item->d_name);
	(void)closedir(directory); /* nothing was written */
	return 0;
}

static void each_bundle(struct bundle_watch *watch, const char *namespace, const char *name)
{
	if (container_id_is_valid(name) && is_fresh(watch, namespace, name))
		begin(watch, namespace, name);
}

static void trouble(struct bundle_watch *watch, int code, const char *path)
{
	struct mayfly_error error;

	(void)error_errno(&error, code, "watch '%s' for containers that start", path);
	watch->owner.on_trouble(watch->owner.context, &error);
}

static void each_namespace(struct bundle_watch *watch, const char *tasks, const char *name)
{
	const size_t length = sizeof NAMESPACE - 1;
	char path[PATH_MAX];
	int r;

	if (strncmp(name, NAMESPACE, length) != 0 || (name[length] != '\0' && name[length] != '-'))
		return;
	(void)snprintf(path, sizeof path, "%s/%s", tasks, name);
	r = add(watch, path, true);
	if (r == 1)
		r = for_names(watch, path, each_bundle);
	if (r < 0 && r != -ENOENT)
		trouble(watch, r, path);
}

static void drop_watches_above(struct bundle_watch *watch, const char *path)
{
	for (size_t i = watch->watched_count; i-- > 0;) {
		const size_t length = strlen(watch->watched[i].path);

		if (length >= strlen(path) || strncmp(watch->watched[i].path, path, length) != 0)
			continue;
		/* It may be gone already. */
		(void)inotify_rm_watch(watch->inotify, watch->watched[i].number);
		forget_watched(watch, i);
	}
}

/* Watches PATH, or the nearest directory above that is there. Returns whether it was PATH. */
static bool watch_nearest(struct bundle_watch *watch, const char *path)
{
	char nearest[PATH_MAX];

	(void)snprintf(nearest, sizeof nearest, "%s", path);
	while (add(watch, nearest[0] ? nearest : "/", false) < 0) {
		char *slash = strrchr(nearest, '/');

		if (!slash)
			return false;
		*slash = '\0';
	}
	return strcmp(nearest, path) == 0;
}

static void survey_tasks(struct bundle_watch *watch, const char *tasks)
{
	size_t watched;

	/* A directory that appeared between the look and the watch is seen by the next round. */
	for (int i = 0; i < SURVEYS_MAX; i++) {
		watched = watch->watched_count;
		if (watch_nearest(watch, tasks)) {
			int r;

			drop_watches_above(watch, tasks);
			r = for_names(watch, tasks, each_namespace);
			if (r < 0 && r != -ENOENT)
				trouble(watch, r, tasks);
			return;
		}
		if (watch->watched_count == watched)
			return;
	}
}

static void survey(struct bundle_watch *watch)
{
	char tasks[PATH_MAX];

	(void)snprintf(tasks, sizeof tasks, "%s/%s", watch->place->exec_root, BUNDLES_OF_ENGINE);
	survey_tasks(watch, tasks);
	survey_tasks(watch, BUNDLES_OF_CONTAINERD);
}

/* Returns whether the directories themselves have changed. */
static bool on_event(struct bundle_watch *watch, const struct inotify_event *event)
{
	for (size_t i = watch->watched_count; i-- > 0;) {
		if (watch->watched[i].number != event->wd)
			continue;
		if (event->mask & IN_IGNORED)
			forget_watched(watch, i);
		else if (watch->watched[i].is_namespace && event->len > 0 &&
			 container_id_is_valid(event->name))
			begin(watch, watch->watched[i].path, event->name);
	}
	return !(event->mask & IN_ISDIR) || event->len == 0 || !container_id_is_valid(event->name);
}

static void forget_all(struct bundle_watch *watch)
{
	while (watch->watched_count > 0) {
		/* It may be gone already. */
		(void)inotify_rm_watch(watch->inotify, watch->watched[0].number);
		forget_watched(watch, 0);
	}
}

static void on_inotify(uv_poll_t *poll, int status, int events)
{
	struct bundle_watch *watch = poll->data;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool needs_survey = false;
	ssize_t length;

	(void)status; /* an inotify descriptor has no errors */
	(void)events;
	length = read(watch->inotify, buffer, sizeof buffer);
	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		/* Events were lost: everything is looked at as if for the first time. */
		if (event->mask & IN_Q_OVERFLOW)
			forget_all(watch);
		needs_survey |= on_event(watch, event);
		at += (ssize_t)(sizeof *event + event->len);
	}
	if (needs_survey)
		survey(watch);
}

void bundle_watch_restart(struct bundle_watch *watch)
{
	if (watch->inotify < 0)
		return;
	forget_all(watch);
	survey(watch);
}

int bundle_watch_open(struct bundle_watch *watch, uv_loop_t *loop, const struct engine_place *place,
	const struct bundle_watch_owner *owner, struct mayfly_error *err)
{
	AUTO_FD inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int r;

	if (inotify < 0)
		return error_errno(err, -errno, "watch for containers that start");
	r = uv_poll_init(loop, &watch->poll, inotify);
	if (r < 0)
		return error_errno(err, r, "watch for containers that start");
	watch->poll.data = watch;
	(void)uv_timer_init(loop, &watch->retry); /* cannot fail */
	watch->retry.data = watch;
	watch->inotify = fd_take(&inotify);
	watch->place = place;
	watch->owner = *owner;
	(void)uv_poll_start(&watch->poll, UV_READABLE, on_inotify); /* fails for bad flags only */
	survey(watch);
	return 0;
}

void bundle_watch_close(struct bundle_watch *watch)
{
	if (watch->inotify < 0)
		return;
	uv_close((uv_handle_t *)&watch->poll, NULL);
	uv_close((uv_handle_t *)&watch->retry, NULL);
	while (watch->watched_count > 0)
		forget_watched(watch, 0);
	while (watch->pending) {
		struct bundle_pending *pending = watch->pending;

		watch->pending = pending->next;
		free(pending);
	}
	fd_close_p(&watch->inotify);
}
