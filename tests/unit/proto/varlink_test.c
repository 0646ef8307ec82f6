#include "proto/varlink.h"

#include "unit_test.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *reads_as;
	const char *text;
	bool valid;
} calls[] = {
	{ "a call", "{\"method\":\"a.b.C\",\"parameters\":{\"x\":1}}", true },
	{ "a call without parameters", "{\"method\":\"a.b.C\"}", true },
	{ "null parameters", "{\"method\":\"a.b.C\",\"parameters\":null}", true },
	{ "no method", "{\"parameters\":{}}", false },
	{ "a method that is a number", "{\"method\":1}", false },
	{ "parameters in an array", "{\"method\":\"a.b.C\",\"parameters\":[]}", false },
	{ "an array", "[]", false },
	{ "two methods", "{\"method\":\"a.b.C\",\"method\":\"a.b.D\"}", false },
	{ "half a message", "{\"method\":", false },
	{ "nothing", "", false },
};

START_TEST(is_accepted_or_not)
{
	struct varlink_call call = { 0 };
	struct mayfly_error err;
	const int r = varlink_call_parse(calls[_i].text, strlen(calls[_i].text), &call, &err);

	ck_assert_msg((r == 0) == calls[_i].valid, "%s", calls[_i].reads_as);
	ck_assert(r < 0 || json_is_object(call.parameters));
	varlink_call_done(&call);
}
END_TEST

START_TEST(a_call_survives_its_encoding)
{
	json_t *parameters = json_pack("{s:s}", "name", "prod/x");
	struct varlink_call call;
	char *text;
	size_t length;

	ck_assert_int_eq(varlink_call_encode("a.b.C", parameters, true, &text, &length), 0);
	ck_assert_int_eq(varlink_message_length(text, length), (ssize_t)length - 1);
	ck_assert_int_eq(varlink_call_parse(text, length - 1, &call, NULL), 0);
	ck_assert_str_eq(call.method, "a.b.C");
	ck_assert(call.more);
	ck_assert(json_equal(call.parameters, parameters));
	varlink_call_done(&call);
	json_decref(parameters);
	free(text);
}
END_TEST

START_TEST(replies_and_errors_survive_their_encoding)
{
	struct varlink_reply reply;
	char *text;
	size_t length;

	ck_assert_int_eq(varlink_reply_encode(NULL, true, &text, &length), 0);
	ck_assert_int_eq(varlink_reply_parse(text, length - 1, &reply, NULL), 0);
	ck_assert(reply.continues);
	ck_assert_ptr_null(reply.error);
	varlink_reply_done(&reply);
	free(text);
	ck_assert_int_eq(varlink_error_encode("a.b.Locked", NULL, &text, &length), 0);
	ck_assert_int_eq(varlink_reply_parse(text, length - 1, &reply, NULL), 0);
	ck_assert_str_eq(reply.error, "a.b.Locked");
	varlink_reply_done(&reply);
	free(text);
}
END_TEST

START_TEST(a_message_without_end_is_refused_at_the_limit)
{
	char *buffer = malloc(VARLINK_MESSAGE_MAX_BYTES);

	memset(buffer, 'x', VARLINK_MESSAGE_MAX_BYTES);
	ck_assert_int_eq(varlink_message_length(buffer, 100), -EAGAIN);
	ck_assert_int_eq(varlink_message_length(buffer, VARLINK_MESSAGE_MAX_BYTES), -EMSGSIZE);
	buffer[VARLINK_MESSAGE_MAX_BYTES - 1] = '\0';
	ck_assert_int_eq(varlink_message_length(buffer, VARLINK_MESSAGE_MAX_BYTES),
		VARLINK_MESSAGE_MAX_BYTES - 1);
	free(buffer);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	char text[10000] = "{\"method\":\"a.b.C\",\"parameters\":{\"x\":";
	struct varlink_call call;

	memset(text + strlen(text), '[', 9000);
	ck_assert_int_eq(varlink_call_parse(text, strlen(text), &call, NULL), -EBADMSG);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, is_accepted_or_not, 0, sizeof calls / sizeof calls[0]);
	tcase_add_test(cases, a_call_survives_its_encoding);
	tcase_add_test(cases, replies_and_errors_survive_their_encoding);
	tcase_add_test(cases, a_message_without_end_is_refused_at_the_limit);
	tcase_add_test(cases, deep_nesting_is_refused);
}

int main(void)
{
	return unit_test_run("varlink", add);
}
