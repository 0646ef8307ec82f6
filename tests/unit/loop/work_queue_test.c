#include "daemon/broker/loop/work_queue.h"

#include "unit_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define ITEMS 500

struct job {
	struct work_item item;
	uv_loop_t *loop;
	pthread_t loop_thread;
	int input, result;
	bool has_run;
	int done;
	bool was_abandoned;
	bool is_starting;
	int again; /* times that ON_DONE starts it again */
	bool is_freed_when_done;
	int *freed;
	struct job *victim; /* abandoned by ON_DONE */
};

static void run(struct work_item *item)
{
	struct job *job = (struct job *)(void *)item;

	ck_assert(!pthread_equal(job->loop_thread, pthread_self()));
	job->result = job->input * 2;
	job->has_run = true;
}

static void run_slowly(struct work_item *item)
{
	(void)usleep(30000);
	run(item);
}

static void on_done(struct work_item *item, bool is_abandoned)
{
	struct job *job = (struct job *)(void *)item;

	ck_assert(!job->is_starting);
	ck_assert(pthread_equal(job->loop_thread, pthread_self()));
	ck_assert(!work_queue_is_under_way(item));
	job->done++;
	job->was_abandoned = is_abandoned;
	if (job->victim)
		work_queue_abandon(&job->victim->item);
	if (job->again > 0) {
		job->again--;
		ck_assert_int_eq(work_queue_start(job->loop, item, NULL), 0);
	} else if (job->is_freed_when_done) {
		(*job->freed)++;
		free(job);
	}
}

static void job_init(struct job *job, uv_loop_t *loop, void (*how)(struct work_item *item))
{
	*job = (struct job){
		.item = { .run = how, .on_done = on_done },
		.loop = loop,
		.loop_thread = pthread_self(),
		.input = 21,
	};
}

static void job_start(struct job *job)
{
	job->is_starting = true;
	ck_assert_int_eq(work_queue_start(job->loop, &job->item, NULL), 0);
	job->is_starting = false;
	ck_assert(work_queue_is_under_way(&job->item));
}

static void finish(uv_loop_t *loop)
{
	ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(loop), 0);
}

START_TEST(the_result_comes_back_to_the_loop)
{
	struct job job;
	uv_loop_t loop;

	uv_loop_init(&loop);
	job_init(&job, &loop, run);
	job_start(&job);
	ck_assert_int_eq(job.done, 0);
	finish(&loop);
	ck_assert_int_eq(job.done, 1);
	ck_assert(!job.was_abandoned);
	ck_assert_int_eq(job.result, 42);
}
END_TEST

START_TEST(an_item_that_is_under_way_is_not_started_again)
{
	struct mayfly_error err;
	struct job job;
	uv_loop_t loop;

	uv_loop_init(&loop);
	job_init(&job, &loop, run);
	job_start(&job);
	ck_assert_int_eq(work_queue_start(&loop, &job.item, &err), -EBUSY);
	finish(&loop);
	ck_assert_int_eq(job.done, 1);
}
END_TEST

START_TEST(an_item_may_start_itself_again)
{
	struct job job;
	uv_loop_t loop;

	uv_loop_init(&loop);
	job_init(&job, &loop, run);
	job.again = 20;
	job_start(&job);
	finish(&loop);
	ck_assert_int_eq(job.done, 21);
}
END_TEST

/* More than the pool has threads: some have begun, most wait. All are told, and free themselves. */
START_TEST(abandoned_items_are_told_once_and_may_free_themselves)
{
	uv_loop_t loop;
	int freed = 0;

	uv_loop_init(&loop);
	for (int i = 0; i < ITEMS; i++) {
		struct job *job = malloc(sizeof *job);

		job_init(job, &loop, i < 8 ? run_slowly : run);
		job->is_freed_when_done = true;
		job->freed = &freed;
		job_start(job);
		if (i % 2 == 0) {
			work_queue_abandon(&job->item);
			work_queue_abandon(&job->item);
		}
	}
	ck_assert_int_eq(freed, 0);
	finish(&loop);
	ck_assert_int_eq(freed, ITEMS);
}
END_TEST

START_TEST(an_item_that_waits_is_not_run_when_it_is_abandoned)
{
	struct job first[16], job;
	uv_loop_t loop;

	uv_loop_init(&loop);
	for (int i = 0; i < 16; i++) {
		job_init(&first[i], &loop, run_slowly);
		job_start(&first[i]);
	}
	job_init(&job, &loop, run);
	job_start(&job);
	work_queue_abandon(&job.item);
	ck_assert_int_eq(job.done, 0);
	finish(&loop);
	ck_assert_int_eq(job.done, 1);
	ck_assert(job.was_abandoned);
	ck_assert(!job.has_run);
	for (int i = 0; i < 16; i++)
		ck_assert(first[i].has_run && !first[i].was_abandoned);
}
END_TEST

static atomic_bool has_begun, may_end;

static void run_until_told(struct work_item *item)
{
	atomic_store(&has_begun, true);
	while (!atomic_load(&may_end))
		(void)usleep(1000);
	run(item);
}

START_TEST(an_item_that_has_begun_is_waited_for)
{
	struct job job;
	uv_loop_t loop;

	uv_loop_init(&loop);
	job_init(&job, &loop, run_until_told);
	job_start(&job);
	while (!atomic_load(&has_begun))
		(void)usleep(1000);
	work_queue_abandon(&job.item);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(job.done, 0);
	atomic_store(&may_end, true);
	finish(&loop);
	ck_assert_int_eq(job.done, 1);
	ck_assert(job.was_abandoned && job.has_run);
}
END_TEST

START_TEST(a_completion_may_abandon_another_item)
{
	struct job first, second;
	uv_loop_t loop;

	uv_loop_init(&loop);
	job_init(&first, &loop, run);
	job_init(&second, &loop, run_slowly);
	first.victim = &second;
	job_start(&first);
	job_start(&second);
	finish(&loop);
	ck_assert(!first.was_abandoned);
	ck_assert(second.was_abandoned);
	ck_assert_int_eq(second.done, 1);
}
END_TEST

START_TEST(abandoning_what_is_not_under_way_does_nothing)
{
	struct job job;
	uv_loop_t loop;

	uv_loop_init(&loop);
	job_init(&job, &loop, run);
	work_queue_abandon(&job.item);
	job_start(&job);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert(!job.was_abandoned);
	work_queue_abandon(&job.item);
	finish(&loop);
	ck_assert_int_eq(job.done, 1);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, the_result_comes_back_to_the_loop);
	tcase_add_test(cases, an_item_that_is_under_way_is_not_started_again);
	tcase_add_test(cases, an_item_may_start_itself_again);
	tcase_add_test(cases, abandoned_items_are_told_once_and_may_free_themselves);
	tcase_add_test(cases, an_item_that_waits_is_not_run_when_it_is_abandoned);
	tcase_add_test(cases, an_item_that_has_begun_is_waited_for);
	tcase_add_test(cases, a_completion_may_abandon_another_item);
	tcase_add_test(cases, abandoning_what_is_not_under_way_does_nothing);
}

int main(void)
{
	return unit_test_run("work_queue", add);
}
