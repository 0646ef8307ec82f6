#include "daemon/broker/vault/vault_answer.h"

#include "daemon/broker/loop/backoff.h"
#include "unit_test.h"

#include <errno.h>
#include <string.h>

#define KV2(data, metadata) "{\"data\":{\"data\":" data ",\"metadata\":{" metadata "}}}"

static struct vault_answer answer_of(long status, const char *text)
{
	struct secret body = { .bytes = (unsigned char *)(uintptr_t)text, .length = strlen(text) };
	const struct https_answer from = {
		.status = status, .why = "", .body = &body, .body_length = strlen(text)
	};
	struct vault_answer answer;

	vault_answer_read(&from, &answer);
	return answer;
}

static const struct {
	const char *reads_as;
	long status;
	const char *body;
	enum vault_outcome outcome;
	bool is_transient;
	const char *says;
} answers[] = {
	{ "an answer", 200, "{}", VAULT_OK, false, "" },
	{ "done, nothing to say", 204, "", VAULT_OK, false, "" },
	{ "accepted", 202, "{}", VAULT_OK, false, "" },
	{ "an answer that is no JSON", 200, "<html>", VAULT_NONSENSE, true, "no answer of such a" },
	{ "an answer that is a list", 200, "[]", VAULT_NONSENSE, true, "" },
	{ "an answer without a body", 200, "", VAULT_NONSENSE, true, "" },
	{ "nothing there", 404, "{\"errors\":[]}", VAULT_NOT_FOUND, false, "HTTP 404" },
	{ "a 404 of something in between", 404, "nginx", VAULT_NONSENSE, true, "" },
	{ "denied", 403, "{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}",
		VAULT_DENIED, false, "HTTP 403: 1 error occurred:??* permission denied??" },
	{ "refused", 400, "{\"errors\":[\"invalid role or secret ID\"]}", VAULT_REFUSED, false,
		"HTTP 400: invalid role or secret ID" },
	{ "a quota", 429, "{\"errors\":[\"x\"]}", VAULT_BUSY, true, "HTTP 429: x" },
	{ "sealed", 503, "{\"errors\":[\"Vault is sealed\"]}", VAULT_SEALED, true,
		"HTTP 503: Vault is sealed" },
	{ "broken", 500, "", VAULT_UNAVAILABLE, true, "HTTP 500" },
	{ "behind", 412, "{\"errors\":[]}", VAULT_UNAVAILABLE, true, "HTTP 412" },
	{ "elsewhere", 307, "", VAULT_REDIRECT, true, "redirects" },
	{ "a proxy's login page", 302, "", VAULT_UNAVAILABLE, true, "HTTP 302" },
	{ "an error that is no text", 400, "{\"errors\":[{\"a\":1}]}", VAULT_REFUSED, false,
		"HTTP 400" },
};

START_TEST(means_what_it_is)
{
	const struct vault_answer answer = answer_of(answers[_i].status, answers[_i].body);

	ck_assert_msg(answer.outcome == answers[_i].outcome, "%s", answers[_i].reads_as);
	ck_assert_msg(vault_outcome_is_transient(answer.outcome) == answers[_i].is_transient, "%s",
		answers[_i].reads_as);
	ck_assert_msg(
		strstr(answer.text, answers[_i].says), "%s: %s", answers[_i].reads_as, answer.text);
}
END_TEST

static const struct {
	const char *reads_as;
	unsigned kv_version;
	long status;
	const char *body;
	bool is_one, is_deleted, is_destroyed;
	uint32_t version;
} secrets[] = {
	{ "a secret", 2, 200, KV2("{\"a\":1}", "\"version\":3,\"deletion_time\":\"\""), true, false,
		false, 3 },
	{ "one that will be deleted", 2, 200,
		KV2("{}", "\"version\":3,\"deletion_time\":\"2049-01-01T00:00:00Z\""), true, false,
		false, 3 },
	{ "one that is deleted", 2, 404,
		KV2("null", "\"version\":2,\"destroyed\":false,\"deletion_time\":\"2026-01-01\""),
		true, true, false, 2 },
	{ "one that is destroyed", 2, 404,
		KV2("null", "\"version\":2,\"destroyed\":true,\"deletion_time\":\"\""), true, false,
		true, 2 },
	{ "null without a reason", 2, 200, KV2("null", "\"version\":2,\"deletion_time\":\"\""),
		false, false, false, 0 },
	{ "deleted with 200", 2, 200, KV2("null", "\"version\":2,\"deletion_time\":\"x\""), false,
		false, false, 0 },
	{ "data with 404", 2, 404, KV2("{}", "\"version\":2"), false, false, false, 0 },
	{ "no version", 2, 200, KV2("{}", "\"x\":2"), false, false, false, 0 },
	{ "a version that is a text", 2, 200, KV2("{}", "\"version\":\"2\""), false, false, false,
		0 },
	{ "data that is a list", 2, 200, KV2("[]", "\"version\":2"), false, false, false, 0 },
	{ "version 1's", 1, 200, "{\"data\":{\"a\":\"b\"}}", true, false, false, 0 },
	{ "version 1's null", 1, 200, "{\"data\":null}", false, false, false, 0 },
	{ "nothing", 2, 404, "{\"errors\":[]}", false, false, false, 0 },
};

START_TEST(is_a_secret_or_not)
{
	const struct vault_answer answer = answer_of(secrets[_i].status, secrets[_i].body);
	struct vault_kv_answer kv = { 0 };

	ck_assert_msg(vault_answer_kv(&answer, secrets[_i].kv_version, &kv) == secrets[_i].is_one,
		"%s", secrets[_i].reads_as);
	ck_assert_int_eq(kv.is_deleted, secrets[_i].is_deleted);
	ck_assert_int_eq(kv.is_destroyed, secrets[_i].is_destroyed);
	ck_assert_uint_eq(kv.version, secrets[_i].version);
}
END_TEST

START_TEST(a_login_has_a_token)
{
	struct vault_answer answer = answer_of(200,
		"{\"auth\":{\"client_token\":\"s.x\",\"lease_duration\":30,\"renewable\":true}}");
	struct vault_auth_answer auth;

	ck_assert(vault_answer_auth(&answer, &auth));
	ck_assert(auth.is_renewable);
	ck_assert_uint_eq(auth.lease_s, 30);
	answer = answer_of(200, "{\"auth\":{\"client_token\":\"\",\"lease_duration\":30}}");
	ck_assert(!vault_answer_auth(&answer, &auth));
	answer = answer_of(200, "{\"auth\":null}");
	ck_assert(!vault_answer_auth(&answer, &auth));
	answer = answer_of(200, "{\"auth\":{\"client_token\":\"s.x\",\"lease_duration\":-1}}");
	ck_assert(!vault_answer_auth(&answer, &auth));
}
END_TEST

START_TEST(pauses_grow_from_one_second_to_the_cap_and_are_never_shorter)
{
	static const uint64_t steps_ms[] = { 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000,
		256000, 300000, 300000 };

	for (unsigned i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++) {
		ck_assert_uint_eq(backoff_ms(i + 1, BACKOFF_LOGIN_CAP_MS, 0), steps_ms[i]);
		for (uint32_t random = 0; random < 5000; random += 37) {
			const uint64_t pause_ms = backoff_ms(i + 1, BACKOFF_LOGIN_CAP_MS, random);

			ck_assert_uint_ge(pause_ms, steps_ms[i]);
			ck_assert_uint_le(pause_ms, steps_ms[i] + steps_ms[i] / 4);
		}
	}
	ck_assert_uint_le(backoff_ms(UINT32_MAX, BACKOFF_LOGIN_CAP_MS, 1000), 375000);
}
END_TEST

START_TEST(a_token_is_renewed_at_two_thirds_of_its_life_or_a_little_before)
{
	for (uint32_t random = 0; random < 5000; random += 37) {
		const uint64_t after_ms = renew_after_ms(3600000, random);

		ck_assert_uint_le(after_ms, 2400000);
		ck_assert_uint_ge(after_ms, 2040000);
	}
	ck_assert_uint_eq(renew_after_ms(1000, 1000), BACKOFF_BASE_MS);
	ck_assert_uint_eq(renew_after_ms(0, 0), BACKOFF_BASE_MS);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, means_what_it_is, 0, sizeof answers / sizeof answers[0]);
	tcase_add_loop_test(cases, is_a_secret_or_not, 0, sizeof secrets / sizeof secrets[0]);
	tcase_add_test(cases, a_login_has_a_token);
	tcase_add_test(cases, pauses_grow_from_one_second_to_the_cap_and_are_never_shorter);
	tcase_add_test(cases, a_token_is_renewed_at_two_thirds_of_its_life_or_a_little_before);
}

int main(void)
{
	return unit_test_run("vault_answer", add);
}
