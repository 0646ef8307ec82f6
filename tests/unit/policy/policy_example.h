/* A policy and a container for tests, and short ways to vary them. */
#pragma once

#include "daemon/broker/policy/policy.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DIGEST_C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static const char *const example_sets[] = { "common", "dev", "staging", "prod" };

/* A container of Compose in good posture, with the members that CHANGES, a JSON object, replaces.
 * The caller calls container_facts_done(). */
static inline struct container_facts container_example(const char *changes)
{
	static const char base[] =
		"{'id': 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee',"
		"'name': 'shop-web-1', 'image_name': 'shop/web:1', 'image_id': '" DIGEST_A "',"
		"'image_digests': ['" DIGEST_A "', '" DIGEST_B "'],"
		"'labels': {'com.docker.compose.project': 'shop',"
		" 'com.docker.compose.service': 'web', 'com.docker.compose.oneoff': 'False'},"
		"'volumes': [{'name': 'shop_secrets', 'target': 'run/secrets'}],"
		"'running': false, 'pid': 0, 'started_at': null, 'announced': true,"
		"'root_mounted': true, 'health': '',"
		"'user': {'text': 'app', 'uid': 1000, 'gid': 1000, 'error': null},"
		"'uid_offset': 0, 'gid_offset': 0, 'id_count': 4294967295,"
		"'privileged': false, 'read_only_root': true, 'no_new_privileges': true,"
		"'engine_socket': false, 'capabilities_added': [], 'capabilities_dropped': ['ALL'],"
		"'pids_limit': 100, 'memory_limit': 268435456, 'pid_mode': '',"
		"'ipc_mode': 'private', 'cgroupns_mode': 'private', 'shares_pid_namespace': false}";
	char text[sizeof base];
	struct container_facts facts = { 0 };
	struct mayfly_error err;
	json_t *object, *changed;

	memcpy(text, base, sizeof base);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	object = json_loads(text, 0, NULL);
	changed = json_loads(changes ? changes : "{}", 0, NULL);
	ck_assert_msg(object && changed, "no JSON: %s", changes);
	ck_assert_int_eq(json_object_update(object, changed), 0);
	ck_assert_msg(container_facts_parse(object, &facts, &err) == 0, "%s", err.text);
	json_decref(object);
	json_decref(changed);
	return facts;
}

/* The policy in TEXT, which must be a good one. The caller calls policy_unref(). */
static inline struct policy *policy_example(const char *text)
{
	const struct policy_text file = { "/etc/mayfly/policy.d/example.json", text, strlen(text) };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	const int r = policy_parse(&file, 1, example_sets,
		sizeof example_sets / sizeof example_sets[0], &policy, &complaints, &notes);

	ck_assert_msg(r == 0, "%s\n%s: %s", text, r == -EINVAL ? complaints.items[0].where : "",
		r == -EINVAL ? complaints.items[0].text : "");
	complaints_done(&complaints);
	complaints_done(&notes);
	return policy;
}
