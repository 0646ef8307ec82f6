#include "daemon/broker/loop/boot_alarm.h"

#include "proto/boot_clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NOT_ARMED SIZE_MAX

struct boot_alarms {
	uv_poll_t poll;
	int timer;
	struct boot_alarm **heap;
	size_t armed, known, room; /* KNOWN alarms have a place each in a heap of ROOM */
};

/* --- the heap --- */

static void put(struct boot_alarms *alarms, size_t place, struct boot_alarm *alarm)
{
	alarms->heap[place] = alarm;
	alarm->place = place;
}

static void move_up(struct boot_alarms *alarms, struct boot_alarm *alarm)
{
	size_t place = alarm->place;

	for (; place > 0; place = (place - 1) / 2) {
		struct boot_alarm *above = alarms->heap[(place - 1) / 2];

		if (above->due_ms <= alarm->due_ms)
			break;
		put(alarms, place, above);
	}
	put(alarms, place, alarm);
}

static void move_down(struct boot_alarms *alarms, struct boot_alarm *alarm)
{
	size_t place = alarm->place;

	for (;;) {
		size_t below = 2 * place + 1;

		if (below + 1 < alarms->armed &&
			alarms->heap[below + 1]->due_ms < alarms->heap[below]->due_ms)
			below++;
		if (below >= alarms->armed || alarms->heap[below]->due_ms >= alarm->due_ms)
			break;
		put(alarms, place, alarms->heap[below]);
		place = below;
	}
	put(alarms, place, alarm);
}

static void take_out(struct boot_alarms *alarms, struct boot_alarm *alarm)
{
	struct boot_alarm *last = alarms->heap[--alarms->armed];
	const size_t place = alarm->place;

	alarm->place = NOT_ARMED;
	if (last == alarm)
		return;
	put(alarms, place, last);
	move_up(alarms, last);
	move_down(alarms, last);
}

/* --- the kernel's timer --- */

static void set_timer(struct boot_alarms *alarms)
{
	/* Relative: what is absolute differs between time namespaces. */
	int64_t left_ms = alarms->armed ? alarms->heap[0]->due_ms - boot_clock_ms() : 0;
	struct itimerspec when = { 0 };

	if (alarms->armed && left_ms < 1)
		left_ms = 1;
	when.it_value.tv_sec = left_ms / 1000;
	when.it_value.tv_nsec = left_ms % 1000 * 1000000;
	/* Fails for a bad descriptor only. */
	(void)timerfd_settime(alarms->timer, 0, &when, NULL);
}

static void on_timer(uv_poll_t *poll, int status, int events)
{
	struct boot_alarms *alarms = container_of(poll, struct boot_alarms, poll);
	const int64_t now = boot_clock_ms();
	uint64_t expirations;

	(void)status;
	(void)events;
	/* Whether it has come is asked of the clock. */
	if (read(alarms->timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
		return;
	while (alarms->armed && alarms->heap[0]->due_ms <= now) {
		struct boot_alarm *alarm = alarms->heap[0];

		take_out(alarms, alarm);
		alarm->on_due(alarm);
	}
	set_timer(alarms);
}

int boot_alarms_new(uv_loop_t *loop, struct boot_alarms **ret_alarms, struct mayfly_error *err)
{
	struct boot_alarms *alarms = calloc(1, sizeof *alarms);
	int r;

	if (!alarms)
		return error_errno(err, -ENOMEM, "make the leases' clock");
	alarms->timer = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	r = alarms->timer < 0 ? -errno : uv_poll_init(loop, &alarms->poll, alarms->timer);
	if (r < 0) {
		if (alarms->timer >= 0)
			(void)close(alarms->timer);
		free(alarms);
		return error_errno(err, r, "make the leases' clock");
	}
	(void)uv_poll_start(&alarms->poll, UV_READABLE, on_timer);
	uv_unref((uv_handle_t *)&alarms->poll);
	*ret_alarms = alarms;
	return 0;
}

/* --- one alarm --- */

int boot_alarm_init(struct boot_alarms *alarms, struct boot_alarm *alarm,
	void (*on_due)(struct boot_alarm *alarm))
{
	const size_t room = alarms->room ? 2 * alarms->room : 64;
	struct boot_alarm **heap = alarms->heap;

	if (alarms->known == alarms->room) {
		heap = reallocarray(alarms->heap, room, sizeof(struct boot_alarm *));
		if (!heap)
			return -ENOMEM;
		alarms->heap = heap;
		alarms->room = room;
	}
	alarms->known++;
	*alarm = (struct boot_alarm){ .alarms = alarms, .place = NOT_ARMED, .on_due = on_due };
	return 0;
}

void boot_alarm_arm(struct boot_alarm *alarm, int64_t due_ms)
{
	struct boot_alarms *alarms = alarm->alarms;

	if (!alarms)
		return;
	if (alarm->place != NOT_ARMED)
		take_out(alarms, alarm);
	assert(alarms->armed < alarms->known);
	alarm->due_ms = due_ms;
	alarm->place = alarms->armed++;
	move_up(alarms, alarm);
	if (alarm->place == 0)
		set_timer(alarms);
}

void boot_alarm_cancel(struct boot_alarm *alarm)
{
	/* The timer may fire for nothing then. */
	if (alarm->alarms && alarm->place != NOT_ARMED)
		take_out(alarm->alarms, alarm);
}

void boot_alarm_close(struct boot_alarm *alarm)
{
	if (!alarm->alarms)
		return;
	boot_alarm_cancel(alarm);
	alarm->alarms->known--;
	alarm->alarms = NULL;
}
