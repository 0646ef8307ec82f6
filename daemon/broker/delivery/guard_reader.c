#include "daemon/broker/delivery/guard_reader.h"

#include "daemon/broker/loop/deadline.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MASK_MNT_ID_UNIQUE 0x4000U /* <linux/stat.h> of 6.8 */
#define LATE_CHECK_MS	   250

struct guard_group {
	uv_poll_t poll;
	struct guard *guard;
	uint32_t index;
	int fd;
	bool is_taken;
	bool is_reading;
	unsigned unanswered;
	struct openers openers;
};

struct guard {
	struct handle_group handles;
	struct deadline late_check;
	uv_loop_t *loop;
	struct guard_callbacks callbacks;
	uint32_t count;
	struct guard_group groups[GUARD_GROUPS_MAX + 1];
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void set_reading(struct guard_group *group, bool is_reading)
{
	if (group->is_reading == is_reading)
		return;
	group->is_reading = is_reading;
	if (is_reading)
		(void)uv_poll_start(&group->poll, UV_READABLE, on_readable);
	else
		(void)uv_poll_stop(&group->poll);
}

void guard_answer(struct opener *opener, bool is_allowed)
{
	struct guard *guard = opener->guard;
	struct guard_group *group = &guard->groups[opener->group];
	const struct fanotify_response response = { .fd = opener->fd,
		.response = is_allowed ? FAN_ALLOW : FAN_DENY };

	/* ENOENT: the opener was killed while it waited. */
	if (write(group->fd, &response, sizeof response) < 0 && errno != ENOENT)
		log_error("answer an open: %s", strerrordesc_np(errno));
	fd_close_p(&opener->fd);
	fd_close_p(&opener->pidfd);
	TAILQ_REMOVE(&group->openers, opener, in_group);
	group->unanswered--;
	free(opener);
	if (!guard->handles.is_ending)
		set_reading(group, true);
}

/* The device, and the mount that the opener came through, of the event's own descriptor. */
static bool describe(struct opener *opener)
{
	struct statx status = { 0 };

	if (statx(opener->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		    STATX_BASIC_STATS | STATX_MNT_ID | MASK_MNT_ID_UNIQUE, &status) != 0)
		return false;
	opener->device = makedev(status.stx_dev_major, status.stx_dev_minor);
	opener->mount_id = status.stx_mnt_id;
	opener->inode = status.stx_ino;
	return true;
}

/* A close waits for nobody. */
static void on_close_event(struct guard *guard, int fd)
{
	struct stat status;

	if (fstat(fd, &status) == 0)
		guard->callbacks.on_close(status.st_dev, status.st_ino, guard->callbacks.data);
}

/* Reads one event: reading many at once would open as many descriptors at once. Returns false when
 * there is no opener. */
static bool read_event(struct guard_group *group, struct opener *opener)
{
	union {
		struct fanotify_event_metadata metadata;
		char bytes[FAN_EVENT_METADATA_LEN + sizeof(struct fanotify_event_info_pidfd)];
	} event;
	const struct fanotify_event_info_pidfd *info =
		(const void *)(event.bytes + FAN_EVENT_METADATA_LEN);
	const ssize_t length = read(group->fd, &event, sizeof event);

	if (length < (ssize_t)FAN_EVENT_METADATA_LEN) {
		/* The kernel has refused the opener itself when it could not give us a descriptor.
		 */
		if (length < 0 && errno != EAGAIN)
			log_error("read an open: %s", strerrordesc_np(errno));
		return false;
	}
	*opener = (struct opener){ .guard = group->guard,
		.group = group->index,
		.fd = event.metadata.fd,
		.pid = event.metadata.pid,
		.pidfd = -1,
		.arrived_ms = uv_now(group->guard->loop) };
	if (length == sizeof event && info->hdr.info_type == FAN_EVENT_INFO_TYPE_PIDFD &&
		info->pidfd >= 0)
		opener->pidfd = info->pidfd;
	if (event.metadata.mask & FAN_CLOSE_NOWRITE) {
		fd_close_p(&opener->pidfd);
		if (opener->fd >= 0)
			on_close_event(group->guard, opener->fd);
		fd_close_p(&opener->fd);
		return false;
	}
	return opener->fd >= 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct guard_group *group = container_of(poll, struct guard_group, poll);
	struct guard *guard = group->guard;
	struct opener event;
	struct opener *opener;

	(void)status;
	(void)events;
	if (!read_event(group, &event))
		return;
	opener = malloc(sizeof *opener);
	if (!opener) {
		const struct fanotify_response refused = { .fd = event.fd, .response = FAN_DENY };

		if (write(group->fd, &refused, sizeof refused) < 0)
			log_error("refuse an open: %s", strerrordesc_np(errno));
		fd_close_p(&event.fd);
		fd_close_p(&event.pidfd);
		return;
	}
	*opener = event;
	TAILQ_INSERT_TAIL(&group->openers, opener, in_group);
	if (++group->unanswered >= GUARD_UNANSWERED_MAX)
		set_reading(group, false);
	if (!deadline_is_armed(&guard->late_check))
		deadline_arm(&guard->late_check, LATE_CHECK_MS);
	if (!describe(opener) || opener->pidfd < 0) {
		guard_answer(opener, false);
		return;
	}
	guard->callbacks.on_open(opener, guard->callbacks.data);
}

static void on_late_check(struct deadline *deadline)
{
	struct guard *guard = container_of(deadline, struct guard, late_check);
	const uint64_t now = uv_now(guard->loop);
	bool somebody_waits = false;

	for (uint32_t i = 0; i < guard->count; i++) {
		struct opener *opener, *next;

		for (opener = TAILQ_FIRST(&guard->groups[i].openers); opener; opener = next) {
			next = TAILQ_NEXT(opener, in_group);
			if (now - opener->arrived_ms < GUARD_DEADLINE_MS) {
				somebody_waits = true;
				continue;
			}
			if (opener->on_late)
				opener->on_late(opener);
			guard_answer(opener, false);
		}
	}
	if (somebody_waits)
		deadline_arm(&guard->late_check, LATE_CHECK_MS);
}

static void on_empty(struct handle_group *handles)
{
	free(container_of(handles, struct guard, handles));
}

int guard_new(uv_loop_t *loop, const int *groups, uint32_t count,
	const struct guard_callbacks *callbacks, struct guard **ret_guard, struct mayfly_error *err)
{
	struct guard *guard = calloc(1, sizeof *guard);

	if (!guard)
		return error_errno(err, -ENOMEM, "make the guard's reader");
	guard->loop = loop;
	guard->callbacks = *callbacks;
	handle_group_init(&guard->handles, on_empty);
	deadline_init(&guard->late_check, loop, &guard->handles, on_late_check);
	for (uint32_t i = 0; i < count; i++) {
		struct guard_group *group = &guard->groups[i];
		const int r = uv_poll_init(loop, &group->poll, groups[i]);

		if (r < 0) {
			guard_close(guard);
			return error_errno(err, r, "watch a fanotify group");
		}
		group->guard = guard;
		group->index = i;
		group->fd = groups[i];
		TAILQ_INIT(&group->openers);
		handle_group_add(&guard->handles, (uv_handle_t *)&group->poll);
		guard->count = i + 1;
		set_reading(group, true);
	}
	*ret_guard = guard;
	return 0;
}

uint32_t guard_take_group(struct guard *guard)
{
	for (uint32_t i = 0; i + 1 < guard->count; i++)
		if (!guard->groups[i].is_taken) {
			guard->groups[i].is_taken = true;
			return i;
		}
	return GUARD_NO_GROUP;
}

void guard_claim_group(struct guard *guard, uint32_t group)
{
	if (group < guard->count)
		guard->groups[group].is_taken = true;
}

void guard_return_group(struct guard *guard, uint32_t group)
{
	if (group < guard->count)
		guard->groups[group].is_taken = false;
}

uint32_t guard_shared_group(const struct guard *guard)
{
	return guard->count > 0 ? guard->count - 1 : GUARD_NO_GROUP;
}

bool guard_is_available(const struct guard *guard)
{
	return guard->count >= 2;
}

bool guard_has_free_group(const struct guard *guard)
{
	for (uint32_t i = 0; i + 1 < guard->count; i++)
		if (!guard->groups[i].is_taken)
			return true;
	return false;
}

void guard_close(struct guard *guard)
{
	if (!handle_group_end(&guard->handles))
		return;
	for (uint32_t i = 0; i < guard->count; i++) {
		struct guard_group *group = &guard->groups[i];
		struct opener *opener;

		while ((opener = TAILQ_FIRST(&group->openers)))
			guard_answer(opener, false);
		set_reading(group, false);
		handle_group_close((uv_handle_t *)&group->poll);
	}
	deadline_close(&guard->late_check);
	handle_group_release(&guard->handles);
}
