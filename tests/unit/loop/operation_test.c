/* Deadlines and watches as parts of one operation: whatever ends it, it is told once and freed
 * once, after the last close callback. */
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/loop/descriptor_watch.h"
#include "daemon/broker/loop/work_queue.h"

#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct outcome {
	int ended, freed;
	int late, ready, last_status;
	uint64_t late_at_ms;
};

struct operation {
	struct handle_group group;
	struct deadline deadline, second;
	struct descriptor_watch watch;
	struct work_item work;
	struct outcome *outcome;
	uv_loop_t *loop;
	int ends[2];
	bool is_kept_when_late; /* the deadline does not end it */
	bool is_rearmed_once;
	bool is_kept_when_ready;
};

static void on_empty(struct handle_group *group)
{
	struct operation *op = container_of(group, struct operation, group);

	op->outcome->freed++;
	/* The descriptor was needed until the watch was closed only. */
	free(op);
}

static void op_finish(struct operation *op)
{
	if (!handle_group_end(&op->group))
		return;
	op->outcome->ended++;
	deadline_cancel(&op->deadline);
	deadline_cancel(&op->deadline);
	deadline_close(&op->deadline);
	deadline_close(&op->deadline);
	deadline_cancel(&op->deadline);
	deadline_arm(&op->deadline, 0);
	ck_assert(!deadline_is_armed(&op->deadline));
	deadline_close(&op->second);
	descriptor_watch_close(&op->watch);
	descriptor_watch_close(&op->watch);
	descriptor_watch_pause(&op->watch);
	ck_assert_int_eq(descriptor_watch_resume(&op->watch, NULL), -EINVAL);
	(void)close(op->ends[0]);
	(void)close(op->ends[1]);
	work_queue_abandon(&op->work);
	handle_group_release(&op->group);
}

static void on_late(struct deadline *deadline)
{
	struct operation *op = container_of(deadline, struct operation, deadline);

	op->outcome->late++;
	op->outcome->late_at_ms = uv_now(op->loop);
	if (op->is_rearmed_once) {
		op->is_rearmed_once = false;
		deadline_arm(&op->deadline, 5);
	} else if (!op->is_kept_when_late) {
		op_finish(op);
		/* Every side may try. */
		op_finish(op);
	}
}

static void on_second(struct deadline *deadline)
{
	op_finish(container_of(deadline, struct operation, second));
}

static void on_ready(struct descriptor_watch *watch, int status)
{
	struct operation *op = container_of(watch, struct operation, watch);
	char byte;

	op->outcome->ready++;
	op->outcome->last_status = status;
	if (!op->is_kept_when_ready)
		op_finish(op);
	else if (read(op->ends[0], &byte, 1) <= 0)
		descriptor_watch_pause(watch);
}

static struct operation *op_new(uv_loop_t *loop, struct outcome *outcome)
{
	struct operation *op = calloc(1, sizeof *op);
	int r;

	op->outcome = outcome;
	op->loop = loop;
	ck_assert_int_eq(pipe2(op->ends, O_CLOEXEC), 0);
	handle_group_init(&op->group, on_empty);
	deadline_init(&op->deadline, loop, &op->group, on_late);
	deadline_init(&op->second, loop, &op->group, on_second);
	r = descriptor_watch_init(&op->watch, loop, &op->group, op->ends[0], on_ready, NULL);
	ck_assert_int_eq(r, 0);
	return op;
}

static void check_over(uv_loop_t *loop, const struct outcome *outcome)
{
	ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(outcome->ended, 1);
	ck_assert_int_eq(outcome->freed, 1);
	ck_assert_int_eq(uv_loop_close(loop), 0);
}

START_TEST(a_deadline_ends_its_operation)
{
	struct outcome outcome = { 0 };
	uv_loop_t loop;

	uv_loop_init(&loop);
	deadline_arm(&op_new(&loop, &outcome)->deadline, 10);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.late, 1);
	ck_assert_int_eq(outcome.ready, 0);
}
END_TEST

START_TEST(an_operation_is_freed_by_the_loop_and_not_by_its_end)
{
	struct outcome outcome = { 0 };
	uv_loop_t loop;

	uv_loop_init(&loop);
	op_finish(op_new(&loop, &outcome));
	ck_assert_int_eq(outcome.ended, 1);
	ck_assert_int_eq(outcome.freed, 0);
	check_over(&loop, &outcome);
}
END_TEST

START_TEST(a_cancelled_deadline_does_not_pass)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	deadline_cancel(&op->deadline);
	deadline_arm(&op->deadline, 5);
	ck_assert(deadline_is_armed(&op->deadline));
	deadline_cancel(&op->deadline);
	deadline_cancel(&op->deadline);
	ck_assert(!deadline_is_armed(&op->deadline));
	deadline_arm(&op->second, 30);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.late, 0);
}
END_TEST

START_TEST(a_deadline_may_be_armed_again_by_its_callback)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	op->is_rearmed_once = true;
	deadline_arm(&op->deadline, 5);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.late, 2);
}
END_TEST

START_TEST(a_later_time_replaces_an_earlier_one)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;
	uint64_t start_ms;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	start_ms = uv_now(&loop);
	/* The loop's clock stands still here; the deadline counts from now all the same. */
	(void)usleep(40000);
	deadline_arm(&op->deadline, 1);
	deadline_arm(&op->deadline, 40);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.late, 1);
	ck_assert_uint_ge(outcome.late_at_ms - start_ms, 79);
}
END_TEST

START_TEST(two_deadlines_of_one_moment_end_an_operation_once)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	deadline_arm(&op->deadline, 5);
	deadline_arm(&op->second, 5);
	check_over(&loop, &outcome);
}
END_TEST

START_TEST(a_background_deadline_keeps_no_loop)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	descriptor_watch_pause(&op->watch);
	deadline_set_background(&op->deadline);
	deadline_arm(&op->deadline, 60000);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	op_finish(op);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.late, 0);
}
END_TEST

START_TEST(a_readable_descriptor_ends_its_operation)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	deadline_arm(&op->deadline, 5000);
	ck_assert_int_eq(write(op->ends[1], "x", 1), 1);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.ready, 1);
	ck_assert_int_eq(outcome.last_status, 0);
	ck_assert_int_eq(outcome.late, 0);
}
END_TEST

START_TEST(a_watch_tells_again_until_it_is_paused)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	op->is_kept_when_ready = true;
	ck_assert_int_eq(write(op->ends[1], "xyz", 3), 3);
	(void)close(op->ends[1]);
	op->ends[1] = -1;
	deadline_arm(&op->deadline, 50);
	check_over(&loop, &outcome);
	/* Three bytes and the end, which would be told for ever. */
	ck_assert_int_eq(outcome.ready, 4);
}
END_TEST

START_TEST(a_paused_watch_may_be_resumed)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	op->is_kept_when_ready = true;
	descriptor_watch_pause(&op->watch);
	descriptor_watch_pause(&op->watch);
	ck_assert_int_eq(write(op->ends[1], "x", 1), 1);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(outcome.ready, 0);
	ck_assert_int_eq(descriptor_watch_resume(&op->watch, NULL), 0);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(outcome.ready, 1);
	op_finish(op);
	check_over(&loop, &outcome);
}
END_TEST

START_TEST(a_pidfd_tells_that_its_process_is_gone)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;
	pid_t pid;

	uv_loop_init(&loop);
	pid = fork();
	if (pid == 0) {
		(void)usleep(20000);
		_exit(0);
	}
	op = op_new(&loop, &outcome);
	descriptor_watch_pause(&op->watch);
	/* The operation's own pipe makes room for the pidfd. */
	ck_assert_int_eq(
		dup3((int)syscall(SYS_pidfd_open, pid, 0), op->ends[0], O_CLOEXEC), op->ends[0]);
	ck_assert_int_eq(descriptor_watch_resume(&op->watch, NULL), 0);
	deadline_arm(&op->deadline, 5000);
	check_over(&loop, &outcome);
	ck_assert_int_eq(outcome.ready, 1);
	ck_assert_int_eq(outcome.late, 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(a_watch_that_cannot_be_made_leaves_nothing)
{
	static const char *const paths[] = { "/proc/self/exe", "/etc/passwd" };
	struct outcome outcome = { 0 };
	struct descriptor_watch watch = { 0 };
	struct mayfly_error err;
	struct operation *op;
	uv_loop_t loop;
	int fd;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	for (int i = 0; i < 2; i++) {
		fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(
			descriptor_watch_init(&watch, &loop, &op->group, fd, on_ready, &err),
			-EPERM);
		(void)close(fd);
		descriptor_watch_close(&watch);
		descriptor_watch_pause(&watch);
	}
	ck_assert_int_eq(
		descriptor_watch_init(&watch, &loop, &op->group, 4000, on_ready, &err), -EBADF);
	ck_assert_int_eq(
		descriptor_watch_init(&watch, &loop, &op->group, op->ends[0], on_ready, &err),
		-EEXIST);
	op_finish(op);
	check_over(&loop, &outcome);
}
END_TEST

START_TEST(what_was_never_made_may_be_closed)
{
	struct deadline deadline = { 0 };
	struct descriptor_watch watch = { 0 };

	deadline_cancel(&deadline);
	deadline_close(&deadline);
	descriptor_watch_pause(&watch);
	descriptor_watch_close(&watch);
	ck_assert_int_eq(descriptor_watch_resume(&watch, NULL), -EINVAL);
}
END_TEST

static void run_slowly(struct work_item *item)
{
	(void)item;
	(void)usleep(50000);
}

static void on_work_done(struct work_item *item, bool is_abandoned)
{
	struct operation *op = container_of(item, struct operation, work);

	ck_assert(is_abandoned);
	ck_assert_int_eq(op->outcome->freed, 0);
	handle_group_release(&op->group);
}

START_TEST(work_under_way_keeps_its_operation)
{
	struct outcome outcome = { 0 };
	struct operation *op;
	uv_loop_t loop;

	uv_loop_init(&loop);
	op = op_new(&loop, &outcome);
	op->work = (struct work_item){ .run = run_slowly, .on_done = on_work_done };
	ck_assert_int_eq(work_queue_start(&loop, &op->work, NULL), 0);
	handle_group_hold(&op->group);
	deadline_arm(&op->deadline, 5);
	check_over(&loop, &outcome);
}
END_TEST

START_TEST(thousands_of_operations_end_once)
{
	static struct outcome outcomes[2000];
	uv_loop_t loop;

	uv_loop_init(&loop);
	for (int i = 0; i < 2000; i++) {
		struct operation *op = calloc(1, sizeof *op);

		op->outcome = &outcomes[i];
		op->loop = &loop;
		op->ends[0] = op->ends[1] = -1;
		handle_group_init(&op->group, on_empty);
		deadline_init(&op->deadline, &loop, &op->group, on_late);
		deadline_init(&op->second, &loop, &op->group, on_second);
		deadline_arm(&op->deadline, (uint64_t)(i % 7));
		deadline_arm(&op->second, (uint64_t)(i % 5));
		if (i % 11 == 0)
			op_finish(op);
	}
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	for (int i = 0; i < 2000; i++) {
		ck_assert_int_eq(outcomes[i].ended, 1);
		ck_assert_int_eq(outcomes[i].freed, 1);
	}
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_deadline_ends_its_operation);
	tcase_add_test(cases, an_operation_is_freed_by_the_loop_and_not_by_its_end);
	tcase_add_test(cases, a_cancelled_deadline_does_not_pass);
	tcase_add_test(cases, a_deadline_may_be_armed_again_by_its_callback);
	tcase_add_test(cases, a_later_time_replaces_an_earlier_one);
	tcase_add_test(cases, two_deadlines_of_one_moment_end_an_operation_once);
	tcase_add_test(cases, a_background_deadline_keeps_no_loop);
	tcase_add_test(cases, a_readable_descriptor_ends_its_operation);
	tcase_add_test(cases, a_watch_tells_again_until_it_is_paused);
	tcase_add_test(cases, a_paused_watch_may_be_resumed);
	tcase_add_test(cases, a_pidfd_tells_that_its_process_is_gone);
	tcase_add_test(cases, a_watch_that_cannot_be_made_leaves_nothing);
	tcase_add_test(cases, what_was_never_made_may_be_closed);
	tcase_add_test(cases, work_under_way_keeps_its_operation);
	tcase_add_test(cases, thousands_of_operations_end_once);
}

int main(void)
{
	return unit_test_run("operation", add);
}
