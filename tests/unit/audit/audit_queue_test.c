#include "daemon/broker/audit/audit_queue.h"

#include "audit_fixture.h"
#include "unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The writing is slow while this is above 0: then records gather. The linker puts this function in
 * front of the C library's. */
static _Atomic int slow_us;
static _Atomic int sync_count;
static _Atomic int sync_error;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	sync_count++;
	if (slow_us > 0)
		(void)usleep((unsigned)slow_us);
	if (sync_error != 0) {
		errno = sync_error;
		return -1;
	}
	return __real_fdatasync(fd);
}

#define NUMBERS 2000

struct office {
	struct fixture fixture;
	uv_loop_t loop;
	struct audit_queue *queue;
	int told[NUMBERS];   /* how often, by number */
	int status[NUMBERS]; /* the last one */
	int order[NUMBERS];
	int count;
	bool is_closed;
	bool is_starting; /* audit_queue_append() has not returned */
	pthread_t thread;
	/* What the callbacks do. */
	int append_in_callback;
	bool close_in_callback;
	int next;
};

struct ticket {
	struct office *office;
	int number;
};

static int append(struct office *office, int number);

static void on_closed(void *data)
{
	struct office *office = data;

	ck_assert(!office->is_starting);
	office->is_closed = true;
}

static void close_queue(struct office *office)
{
	office->is_starting = true;
	audit_queue_close(office->queue, on_closed, office);
	office->is_starting = false;
}

static void on_durable(void *data, int status)
{
	struct ticket *ticket = data;
	struct office *office = ticket->office;

	ck_assert(!office->is_starting);
	ck_assert(pthread_equal(office->thread, pthread_self()));
	office->told[ticket->number]++;
	office->status[ticket->number] = status;
	office->order[office->count++] = ticket->number;
	if (status < 0)
		ck_assert_int_eq(audit_queue_failure(office->queue)->code, status);
	free(ticket);
	if (office->append_in_callback > 0) {
		office->append_in_callback--;
		ck_assert_int_eq(append(office, office->next++), 0);
	} else if (office->close_in_callback) {
		office->close_in_callback = false;
		close_queue(office);
		ck_assert_int_eq(append(office, NUMBERS - 1), -ESHUTDOWN);
	}
}

static int append_record(struct office *office, int number, json_t *record)
{
	struct ticket *ticket = malloc(sizeof *ticket);
	const bool was_starting = office->is_starting;
	int r;

	*ticket = (struct ticket){ office, number };
	office->is_starting = true;
	r = audit_queue_append(office->queue, record, on_durable, ticket, &office->fixture.err);
	office->is_starting = was_starting;
	json_decref(record);
	if (r < 0)
		free(ticket);
	return r;
}

static int append(struct office *office, int number)
{
	return append_record(office, number, fixture_record(number));
}

static void office_open(struct office *office)
{
	memset(office, 0, sizeof *office);
	fixture_make(&office->fixture);
	fixture_open(&office->fixture, 0, 0);
	office->thread = pthread_self();
	ck_assert_int_eq(uv_loop_init(&office->loop), 0);
	ck_assert_int_eq(audit_queue_new(&office->loop, office->fixture.audit, &office->queue,
				 &office->fixture.err),
		0);
	sync_count = 0;
}

/* Everything that FIRST to LAST (not with it) were told: once, in order, with STATUS. */
static void check_told(const struct office *office, int first, int last, int status)
{
	for (int i = first; i < last; i++) {
		ck_assert_msg(
			office->told[i] == 1, "number %d was told %d times", i, office->told[i]);
		ck_assert_int_eq(office->status[i], status);
		ck_assert_int_eq(office->order[i], i);
	}
}

/* Closes what is still open; nothing keeps the loop. The chain has as many records as were told. */
static void office_close(struct office *office, bool close, uint64_t records)
{
	struct audit_report report;

	slow_us = 0;
	sync_error = 0;
	if (close)
		close_queue(office);
	ck_assert_int_eq(uv_run(&office->loop, UV_RUN_DEFAULT), 0);
	ck_assert(office->is_closed);
	ck_assert_int_eq(uv_loop_close(&office->loop), 0);
	ck_assert_msg(
		fixture_verify(&office->fixture, &report) == 0, "%s", office->fixture.err.text);
	ck_assert_uint_eq(report.records, records);
	fixture_done(&office->fixture);
}

START_TEST(one_record_is_told_when_it_is_durable)
{
	struct office office;

	office_open(&office);
	ck_assert_int_eq(append(&office, 0), 0);
	ck_assert_int_eq(office.count, 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 0, 1, 0);
	ck_assert_int_eq(sync_count, 1);
	office_close(&office, true, 1);
}
END_TEST

START_TEST(records_that_gather_share_a_write)
{
	struct office office;

	office_open(&office);
	slow_us = 20000;
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(append(&office, i), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 0, 200, 0);
	/* The first alone, the others together. */
	ck_assert_int_eq(sync_count, 2);
	office_close(&office, true, 200);
}
END_TEST

START_TEST(a_write_has_no_more_than_a_batch)
{
	struct office office;

	office_open(&office);
	slow_us = 20000;
	for (int i = 0; i < 1 + 2 * AUDIT_QUEUE_BATCH_MAX + 1; i++)
		ck_assert_int_eq(append(&office, i), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 0, 2 * AUDIT_QUEUE_BATCH_MAX + 2, 0);
	ck_assert_int_eq(sync_count, 4);
	office_close(&office, true, 2 * AUDIT_QUEUE_BATCH_MAX + 2);
}
END_TEST

START_TEST(a_callback_may_append)
{
	struct office office;

	office_open(&office);
	office.next = 3;
	office.append_in_callback = 500;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(append(&office, i), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 0, 503, 0);
	office_close(&office, true, 503);
}
END_TEST

START_TEST(a_callback_may_close)
{
	struct office office;

	office_open(&office);
	office.close_in_callback = true;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(append(&office, i), 0);
	/* What was taken is written and told all the same. */
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	ck_assert(office.is_closed);
	check_told(&office, 0, 100, 0);
	office_close(&office, false, 100);
}
END_TEST

START_TEST(closing_waits_for_what_is_under_way)
{
	struct office office;

	office_open(&office);
	slow_us = 50000;
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(append(&office, i), 0);
	close_queue(&office);
	ck_assert(!office.is_closed);
	ck_assert_int_eq(append(&office, 50), -ESHUTDOWN);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 0, 50, 0);
	ck_assert_int_eq(office.told[50], 0);
	office_close(&office, false, 50);
}
END_TEST

START_TEST(an_idle_queue_closes)
{
	struct office office;

	office_open(&office);
	office_close(&office, true, 0);
}
END_TEST

START_TEST(a_failed_write_is_told_to_all_of_its_records)
{
	struct office office;

	office_open(&office);
	sync_error = EIO;
	slow_us = 20000;
	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(append(&office, i), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 0, 40, -EIO);
	/* And the queue goes on when the disk does. */
	sync_error = 0;
	for (int i = 40; i < 60; i++)
		ck_assert_int_eq(append(&office, i), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	check_told(&office, 40, 60, 0);
	office_close(&office, true, 20);
}
END_TEST

START_TEST(a_record_that_cannot_be_written_takes_no_other_with_it)
{
	struct office office;
	char *const text = malloc(AUDIT_LINE_MAX_BYTES);

	office_open(&office);
	memset(text, 'x', AUDIT_LINE_MAX_BYTES);
	slow_us = 20000;
	for (int i = 0; i < 10; i++) {
		json_t *record = fixture_record(i);

		if (i == 4)
			json_object_set_new(
				record, "action", json_stringn(text, AUDIT_LINE_MAX_BYTES));
		if (i == 6)
			json_object_set_new(record, "mac", json_true());
		ck_assert_int_eq(append_record(&office, i, record), 0);
	}
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(office.order[i], i);
		ck_assert_int_eq(office.status[i], i == 4 ? -EMSGSIZE : i == 6 ? -EINVAL : 0);
	}
	office_close(&office, true, 8);
	free(text);
}
END_TEST

START_TEST(too_many_that_wait_are_refused)
{
	struct office office;
	json_t *const record = fixture_record(0);
	int taken = 0, r;

	office_open(&office);
	slow_us = 200000;
	do {
		struct ticket *ticket = malloc(sizeof *ticket);

		*ticket = (struct ticket){ &office, 0 };
		r = audit_queue_append(
			office.queue, record, on_durable, ticket, &office.fixture.err);
		if (r < 0)
			free(ticket);
		else
			taken++;
		/* Only the count matters here. */
		office.count = 0;
	} while (r == 0 && taken <= AUDIT_QUEUE_WAITING_MAX + 1);
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_int_eq(taken, AUDIT_QUEUE_WAITING_MAX + 1);
	slow_us = 0;
	while (office.told[0] < taken) {
		(void)uv_run(&office.loop, UV_RUN_ONCE);
		office.count = 0;
	}
	office_close(&office, true, (uint64_t)taken);
	json_decref(record);
}
END_TEST

static void on_enough(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
}

/* The queue's own timer, which needs no further record and keeps no loop alive. */
START_TEST(the_key_goes_on_although_nobody_appends)
{
	struct office office;
	uv_timer_t timer;
	uint64_t epoch;

	office_open(&office);
	office.fixture.audit->epoch_max_ms = 50;
	ck_assert_int_eq(append(&office, 0), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	epoch = office.fixture.audit->key.epoch;
	ck_assert_int_eq(uv_timer_init(&office.loop, &timer), 0);
	ck_assert_int_eq(uv_timer_start(&timer, on_enough, 400, 0), 0);
	ck_assert_int_eq(uv_run(&office.loop, UV_RUN_DEFAULT), 0);
	/* Once: an epoch without records has no end. */
	ck_assert_uint_eq(office.fixture.audit->key.epoch, epoch + 1);
	office_close(&office, true, 1);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, one_record_is_told_when_it_is_durable);
	tcase_add_test(cases, records_that_gather_share_a_write);
	tcase_add_test(cases, a_write_has_no_more_than_a_batch);
	tcase_add_test(cases, a_callback_may_append);
	tcase_add_test(cases, a_callback_may_close);
	tcase_add_test(cases, closing_waits_for_what_is_under_way);
	tcase_add_test(cases, an_idle_queue_closes);
	tcase_add_test(cases, a_failed_write_is_told_to_all_of_its_records);
	tcase_add_test(cases, a_record_that_cannot_be_written_takes_no_other_with_it);
	tcase_add_test(cases, too_many_that_wait_are_refused);
	tcase_add_test(cases, the_key_goes_on_although_nobody_appends);
}

int main(void)
{
	return unit_test_run("audit_queue", add);
}
