#include "daemon/engine/api/docker_events.h"

#include "unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char stream[] =
	"{\"status\":\"create\",\"id\":\"" ID
	"\",\"Type\":\"container\",\"Action\":\"create\",\"Actor\":"
	"{\"ID\":\"" ID "\",\"Attributes\":{\"a\":\"}\\\"{[\\\\\",\"ID\":\"x\"}},\"timeNano\":11}\n"
	"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"" ID
	"\"},\"timeNano\":12}"
	"\x1e{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID
	"\"},\"timeNano\":13}\r\n \t"
	"{\"Type\":\"container\",\"Action\":\"destroy\",\"Actor\":{\"ID\":\"" ID
	"\"},\"timeNano\":14}";

static const enum docker_action actions[] = { DOCKER_CREATE, DOCKER_START, DOCKER_DIE,
	DOCKER_DESTROY };

static size_t take_all(struct json_values *values, size_t taken)
{
	struct docker_event event;
	const char *bytes;
	size_t length;
	int r;

	while ((r = json_values_next(values, &bytes, &length)) == 1) {
		ck_assert_int_eq(docker_event_decode(bytes, length, &event), 0);
		ck_assert_uint_lt(taken, 4);
		ck_assert_int_eq(event.action, actions[taken]);
		ck_assert_int_eq(event.time_ns, 11 + (int64_t)taken);
		ck_assert_str_eq(event.id, ID);
		taken++;
	}
	ck_assert_int_eq(r, 0);
	return taken;
}

START_TEST(events_are_found_at_every_cut)
{
	const size_t length = sizeof stream - 1;

	for (size_t first = 0; first <= length; first++) {
		struct json_values values = { 0 };
		size_t taken;

		ck_assert_int_eq(json_values_add(&values, stream, first), 0);
		taken = take_all(&values, 0);
		ck_assert_int_eq(json_values_add(&values, stream + first, length - first), 0);
		ck_assert_uint_eq(take_all(&values, taken), 4);
		ck_assert_uint_eq(json_values_waiting(&values), 0);
		json_values_done(&values);
	}
}
END_TEST

START_TEST(events_are_found_byte_by_byte)
{
	struct json_values values = { 0 };
	size_t taken = 0;

	for (size_t i = 0; i < sizeof stream - 1; i++) {
		ck_assert_int_eq(json_values_add(&values, stream + i, 1), 0);
		taken = take_all(&values, taken);
	}
	ck_assert_uint_eq(taken, 4);
	json_values_done(&values);
}
END_TEST

/* An event of BYTES is followed by a small one. */
static void feed_large(size_t size, size_t step, int expect)
{
	struct json_values values = { 0 };
	char *text = malloc(size + sizeof stream);
	size_t fed = 0, length, most = 0;
	const char *bytes;
	int first = 0;

	memset(text, 'x', size);
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + size - 2, "\"}", 2);
	memcpy(text + size, stream, sizeof stream - 1);
	while (first == 0 && fed < size + sizeof stream - 1) {
		const size_t left = size + sizeof stream - 1 - fed;
		const size_t part = left < step ? left : step;

		ck_assert_int_eq(json_values_add(&values, text + fed, part), 0);
		fed += part;
		first = json_values_next(&values, &bytes, &length);
		most = values.capacity > most ? values.capacity : most;
	}
	ck_assert_int_eq(first, expect);
	ck_assert_int_eq(json_values_add(&values, text + fed, size + sizeof stream - 1 - fed), 0);
	ck_assert_uint_eq(take_all(&values, 0), 4);
	ck_assert_uint_le(most, EVENT_MAX_BYTES + 2 * step);
	json_values_done(&values);
	free(text);
}

START_TEST(an_event_that_is_too_large_is_left_out_and_told)
{
	feed_large(EVENT_MAX_BYTES / 2, 16384, 1);
	feed_large(EVENT_MAX_BYTES + 40000, 16384, -EMSGSIZE);
	feed_large(5 * EVENT_MAX_BYTES, 16384, -EMSGSIZE);
	/* Also when all of it has come before anybody looks. */
	feed_large(EVENT_MAX_BYTES + 1, 2 * EVENT_MAX_BYTES, -EMSGSIZE);
}
END_TEST

START_TEST(what_is_no_sequence_of_objects_is_told)
{
	static const char *const streams[] = { "x", "[1]", "\"a\"", "HTTP/1.1 400", "}",
		"\n\n,{}" };
	const char *bytes;
	size_t length;

	for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
		struct json_values values = { 0 };

		ck_assert_int_eq(json_values_add(&values, streams[i], strlen(streams[i])), 0);
		ck_assert_msg(
			json_values_next(&values, &bytes, &length) == -EBADMSG, "%s", streams[i]);
		json_values_done(&values);
	}
}
END_TEST

#define ACTOR "\"Actor\":{\"ID\":\"" ID "\"}"

static const struct {
	const char *reads_as;
	const char *text;
	int expect;
} events[] = {
	{ "a start", "{\"Type\":\"container\",\"Action\":\"start\"," ACTOR ",\"timeNano\":1}", 0 },
	{ "a volume's", "{\"Type\":\"volume\",\"Action\":\"create\"," ACTOR ",\"timeNano\":1}",
		-ENOENT },
	{ "an action of no interest",
		"{\"Type\":\"container\",\"Action\":\"exec_start: sh\"," ACTOR ",\"timeNano\":1}",
		-ENOENT },
	{ "a single check of its health",
		"{\"Type\":\"container\",\"Action\":\"health_status: running\"," ACTOR
		",\"timeNano\":1}",
		-ENOENT },
	{ "an action without letters",
		"{\"Type\":\"container\",\"Action\":\"\"," ACTOR ",\"timeNano\":1}", -ENOENT },
	{ "one without a time", "{\"Type\":\"container\",\"Action\":\"start\"," ACTOR "}",
		-EBADMSG },
	{ "one without an id",
		"{\"Type\":\"container\",\"Action\":\"start\",\"id\":\"" ID "\",\"timeNano\":1}",
		-EBADMSG },
	{ "one with a short id",
		"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"abc\"},"
		"\"timeNano\":1}",
		-EBADMSG },
	{ "one whose id leads elsewhere",
		"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"../../../../../"
		"../../../etc/"
		"../../../../../../../../../etc/passwd\"},\"timeNano\":1}",
		-EBADMSG },
	{ "one with a byte 0 in a label",
		"{\"Type\":\"container\",\"Action\":\"start\"," ACTOR
		",\"x\":\"\\u0000\",\"timeNano\":1}",
		-EBADMSG },
	{ "one with braces that do not fit", "{\"Type\":[}", -EBADMSG },
	{ "one without a type", "{}", -EBADMSG },
};

START_TEST(an_event_is)
{
	struct docker_event event;

	ck_assert_msg(docker_event_decode(events[_i].text, strlen(events[_i].text), &event) ==
			      events[_i].expect,
		"%s", events[_i].reads_as);
}
END_TEST

static const struct {
	const char *engine_name;
	const char *told_as;
} names[] = { { "create", "create" }, { "start", "start" }, { "die", "die" },
	{ "destroy", "destroy" }, { "health_status: healthy", "healthy" },
	{ "health_status: unhealthy", "unhealthy" } };

START_TEST(an_action_is_told_in_one_word)
{
	struct docker_event event;
	char text[256];

	(void)snprintf(text, sizeof text,
		"{\"Type\":\"container\",\"Action\":\"%s\"," ACTOR ",\"timeNano\":1}",
		names[_i].engine_name);
	ck_assert_int_eq(docker_event_decode(text, strlen(text), &event), 0);
	ck_assert_str_eq(docker_action_name(event.action), names[_i].told_as);
}
END_TEST

START_TEST(random_changes_are_survived)
{
	char text[sizeof stream];
	struct docker_event event;
	const char *bytes;
	size_t length;

	srandom(7);
	for (int round = 0; round < 20000; round++) {
		struct json_values values = { 0 };
		int r;

		memcpy(text, stream, sizeof stream);
		for (int i = 0; i < 3; i++)
			text[(size_t)random() % (sizeof stream - 1)] = (char)random();
		ck_assert_int_eq(json_values_add(&values, text, sizeof stream - 1), 0);
		while ((r = json_values_next(&values, &bytes, &length)) == 1)
			(void)docker_event_decode(bytes, length, &event);
		ck_assert(r == 0 || r == -EBADMSG);
		json_values_done(&values);
	}
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, events_are_found_at_every_cut);
	tcase_add_test(cases, events_are_found_byte_by_byte);
	tcase_add_test(cases, an_event_that_is_too_large_is_left_out_and_told);
	tcase_add_test(cases, what_is_no_sequence_of_objects_is_told);
	tcase_add_loop_test(cases, an_event_is, 0, sizeof events / sizeof events[0]);
	tcase_add_loop_test(
		cases, an_action_is_told_in_one_word, 0, sizeof names / sizeof names[0]);
	tcase_add_test(cases, random_changes_are_survived);
}

int main(void)
{
	return unit_test_run("docker_events", add);
}
