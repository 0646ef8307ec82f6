#include "daemon/broker/loop/boot_alarm.h"

#include "proto/boot_clock.h"
#include "unit_test.h"

#define ALARMS 400

struct ringing {
	struct boot_alarm alarm;
	int64_t wanted_ms, came_ms;
	unsigned rang;
	struct ringing *next; /* armed when this one rings */
	struct ringing *victim;
};

static uv_loop_t loop;
static struct boot_alarms *alarms;
static int64_t last_ms;
static uv_timer_t stop;

static void on_due(struct boot_alarm *alarm)
{
	struct ringing *ringing = container_of(alarm, struct ringing, alarm);

	ringing->came_ms = boot_clock_ms();
	ringing->rang++;
	ck_assert_int_ge(ringing->came_ms, ringing->wanted_ms);
	ck_assert_msg(ringing->wanted_ms >= last_ms, "the earlier one rings first");
	last_ms = ringing->wanted_ms;
	if (ringing->next)
		boot_alarm_arm(&ringing->next->alarm, ringing->next->wanted_ms);
	if (ringing->victim)
		boot_alarm_cancel(&ringing->victim->alarm);
}

static void on_stop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void set_up(void)
{
	last_ms = 0;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(boot_alarms_new(&loop, &alarms, NULL), 0);
	ck_assert_int_eq(uv_timer_init(&loop, &stop), 0);
}

static void run_for(uint64_t ms)
{
	(void)uv_timer_start(&stop, on_stop, ms, 0);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
}

static void arm(struct ringing *ringing, int64_t due_ms)
{
	ringing->wanted_ms = due_ms;
	boot_alarm_arm(&ringing->alarm, due_ms);
}

static void init(struct ringing *ringing)
{
	ck_assert_int_eq(boot_alarm_init(alarms, &ringing->alarm, on_due), 0);
}

START_TEST(many_ring_in_the_order_of_their_times)
{
	static struct ringing list[ALARMS];
	const int64_t now = boot_clock_ms();

	set_up();
	for (int i = 0; i < ALARMS; i++)
		init(&list[i]);
	for (int i = 0; i < ALARMS; i++)
		arm(&list[i], now + 50 + i * 7919 % ALARMS);
	/* A third are put off, a third are not wanted any more. */
	for (int i = 0; i < ALARMS; i += 3)
		arm(&list[i], now + 60 + i * 31 % 300);
	for (int i = 1; i < ALARMS; i += 3)
		boot_alarm_cancel(&list[i].alarm);
	run_for(700);
	for (int i = 0; i < ALARMS; i++)
		ck_assert_uint_eq(list[i].rang, i % 3 == 1 ? 0 : 1);
}
END_TEST

START_TEST(one_that_has_passed_rings_at_once)
{
	static struct ringing late;

	set_up();
	init(&late);
	arm(&late, 1);
	ck_assert_uint_eq(late.rang, 0);
	run_for(100);
	ck_assert_uint_eq(late.rang, 1);
}
END_TEST

START_TEST(ringing_may_arm_another_and_cancel_a_third)
{
	static struct ringing first, second, third;
	const int64_t now = boot_clock_ms();

	set_up();
	init(&first);
	init(&second);
	init(&third);
	first.next = &second;
	first.victim = &third;
	second.wanted_ms = now + 40;
	arm(&third, now + 30);
	arm(&first, now + 20);
	run_for(200);
	ck_assert_uint_eq(first.rang, 1);
	ck_assert_uint_eq(second.rang, 1);
	ck_assert_uint_eq(third.rang, 0);
}
END_TEST

START_TEST(a_closed_one_gives_its_room_back)
{
	static struct ringing list[3];

	set_up();
	for (int round = 0; round < 1000; round++)
		for (int i = 0; i < 3; i++) {
			init(&list[i]);
			arm(&list[i], boot_clock_ms() + 60000);
			boot_alarm_close(&list[i].alarm);
			boot_alarm_close(&list[i].alarm);
			arm(&list[i], 1);
		}
	run_for(50);
	ck_assert_uint_eq(list[0].rang, 0);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, many_ring_in_the_order_of_their_times);
	tcase_add_test(cases, one_that_has_passed_rings_at_once);
	tcase_add_test(cases, ringing_may_arm_another_and_cancel_a_third);
	tcase_add_test(cases, a_closed_one_gives_its_room_back);
}

int main(void)
{
	return unit_test_run("boot_alarm", add);
}
