#include "daemon/broker/policy/policy.h"

#include "daemon/broker/config/json_schema.h"
#include "daemon/broker/config/signal_name.h"
#include "daemon/broker/policy/policy_build.h"
#include "proto/cleanup.h"
#include "proto/duration.h"
#include "proto/secret_name.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEALTH_WINDOW_MAX_S 86400
#define PERIOD_MAX_S	    (100u * 365 * 86400)

const char *build_string(struct policy_build *build, const char *text, size_t length)
{
	char *copied = build->room;

	assert(length < (size_t)(build->room_end - build->room));
	memcpy(copied, text, length);
	copied[length] = '\0';
	build->room += length + 1;
	return copied;
}

static const char *base_name(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? slash + 1 : file;
}

/* ---- Parts of a grant. ---- */

static bool is_allowed(struct json_place require, const char *key)
{
	const char *word = json_place_text(require, key);

	return word && strcmp(word, "allow") == 0;
}

static bool is_asked_for(struct json_place require, const char *key)
{
	return json_is_true(json_object_get(require.value, key));
}

static struct policy_require read_require(struct policy_build *build, struct json_place place)
{
	const char *digest = json_place_text(place, "image.digest");

	return (struct policy_require){
		.allow_privileged = is_allowed(place, "privileged"),
		.allow_host_namespaces = is_allowed(place, "host_namespaces"),
		.allow_engine_socket = is_allowed(place, "engine_socket"),
		.allow_sys_admin = is_allowed(place, "sys_admin"),
		.non_root = is_asked_for(place, "non_root"),
		.read_only_root = is_asked_for(place, "read_only_root"),
		.capabilities_dropped = is_asked_for(place, "capabilities_dropped"),
		.no_new_privileges = is_asked_for(place, "no_new_privileges"),
		.pids_limit = is_asked_for(place, "pids_limit"),
		.memory_limit = is_asked_for(place, "memory_limit"),
		.image_digest = digest ? build_string(build, digest, strlen(digest)) : NULL,
	};
}

/* An absent word is the default, 0; the schema lets no other word through. */
static int read_word(struct json_place place, const char *key, const char *const *words)
{
	const char *text = json_place_text(place, key);

	for (int i = 0; text && words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return 0;
}

static void read_delivery(struct json_place place, struct policy_grant *grant)
{
	static const char *const guards[] = {
		[GUARD_UNTIL_START] = "until-start", [GUARD_ALWAYS] = "always", NULL
	};
	static const char *const layouts[] = {
		[LAYOUT_ATOMIC] = "atomic", [LAYOUT_PLAIN] = "plain", NULL
	};
	static const char *const releases[] = { [RELEASE_DEFAULT] = "",
		[RELEASE_GUARD] = "guard",
		[RELEASE_AFTER_START] = "after-start",
		[RELEASE_MOUNT] = "mount",
		NULL };

	grant->guard = (enum grant_guard)read_word(place, "guard", guards);
	grant->layout = (enum grant_layout)read_word(place, "layout", layouts);
	grant->release = (enum grant_release)read_word(place, "release", releases);
}

/* Leaves *SECONDS as it is when the key is absent. */
static void read_period(struct policy_build *build, struct json_place lease, const char *key,
	const struct policy_grant *grant, uint32_t *seconds)
{
	const char *text = json_place_text(lease, key);

	if (text && (!duration_parse(text, PERIOD_MAX_S, seconds) || *seconds < 1))
		complaint_at(build->complaints, lease, NULL,
			"grant %s: '%s' is no `%s` of a lease: at least 1s, at most 36500d",
			grant->name, text, key);
}

static void read_lease(
	struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	static const char *const words[] = { "keep", "empty", NULL };
	struct json_place lease;

	grant->lease.ttl_s = GRANT_TTL_DEFAULT_S;
	if (!json_place_member(place, "lease", &lease))
		return;
	read_period(build, lease, "ttl", grant, &grant->lease.ttl_s);
	read_period(build, lease, "max_ttl", grant, &grant->lease.max_ttl_s);
	grant->lease.empties_unrenewed = read_word(lease, "unrenewed", words) == 1;
}

static void read_telling(
	struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	struct json_place telling;
	const char *process;

	if (!json_place_member(place, "on_rotate", &telling))
		return;
	if (json_is_string(telling.value)) {
		grant->telling = strcmp(json_string_value(telling.value), "restart") == 0
					 ? TELLING_RESTART
					 : TELLING_NONE;
		return;
	}
	grant->telling = TELLING_SIGNAL;
	/* The schema has the names. */
	grant->signal = signal_number(json_place_text(telling, "signal"));
	process = json_place_text(telling, "process");
	if (process)
		grant->process = build_string(build, process, strlen(process));
}

static void read_health_window(
	struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	const char *text = json_place_text(place, "rollback_if_unhealthy_within");

	if (text && (!duration_parse(text, HEALTH_WINDOW_MAX_S, &grant->health_window_s) ||
			    grant->health_window_s < 1))
		complaint_at(build->complaints, place, NULL,
			"grant %s: '%s' is no time within which to roll back: 1s to 24h",
			grant->name, text);
}

static void read_target(
	struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	const char *text = json_place_text(place, "target");
	struct mayfly_error err;

	if (!text)
		text = "/run/secrets";
	/* The schema requires the slash and what follows it. */
	grant->target = build_string(build, text + 1, strlen(text + 1));
	if (file_path_check(grant->target, &err) < 0)
		complaint_at(build->complaints, place, NULL, "grant %s: target: %s", grant->name,
			err.text);
}

static void read_set(
	struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	struct json_place set;
	const char *name;

	if (!json_place_member(place, "set", &set))
		return;
	name = json_string_value(set.value);
	grant->set = build_string(build, name, strlen(name));
	for (size_t i = 0; i < build->sets_count; i++)
		if (strcmp(build->sets[i], name) == 0)
			return;
	complaint_at(build->complaints, set, nearest_word(name, build->sets, build->sets_count),
		"grant %s: '%s' is no known set", grant->name, name);
}

/* ---- A grant among the others. ---- */

static void check_name(
	struct policy_build *build, struct json_place place, const struct policy_grant *grant)
{
	const struct policy *policy = build->policy;

	for (size_t i = 0; i < policy->grants_count; i++)
		if (strcmp(policy->grants[i].name, grant->name) == 0) {
			complaint_at(build->complaints, place, NULL, "grant %s stands in %s:%u too",
				grant->name, build->files[i], policy->grants[i].line);
			return;
		}
}

/* Promise 5 of the design: no decision rests on such strings unless the author was told so. */
static void note_claims(
	struct policy_build *build, struct json_place place, const struct policy_grant *grant)
{
	if (grant->require.image_digest)
		return;
	for (size_t i = 0; i < grant->terms_count; i++)
		if (grant->terms[i].key == MATCH_IMAGE_DIGEST)
			return;
	complaint_at(build->notes, place, NULL,
		"grant %s rests only on names and labels, which whoever may use the engine "
		"chooses; an `image.digest` in `require` binds it to an image",
		grant->name);
}

static void grant_done(struct policy_grant *grant)
{
	for (size_t i = 0; i < grant->entries_count; i++)
		free(grant->entries[i].parts);
	free(grant->entries);
	free(grant->terms);
	json_decref(grant->source);
	*grant = (struct policy_grant){ 0 };
}

/* A grant with a complaint stays out, so that it causes no others. */
static int add_grant(struct policy_build *build, const char *file, struct json_place place)
{
	MAYFLY_CLEANUP(grant_done) struct policy_grant grant = { .file = file };
	const size_t before = build->complaints->count;
	const char *name = json_place_text(place, "name");
	struct json_place match = { 0 }, require = { 0 }, secrets = { 0 };
	int r;

	grant.name = build_string(build, name, strlen(name));
	grant.line = json_place_line(place);
	grant.source = json_incref(place.value);
	check_name(build, place, &grant);
	read_set(build, place, &grant);
	if (json_place_member(place, "require", &require))
		grant.require = read_require(build, require);
	read_delivery(place, &grant);
	read_lease(build, place, &grant);
	read_telling(build, place, &grant);
	read_health_window(build, place, &grant);
	read_target(build, place, &grant);
	/* The schema requires both. */
	(void)json_place_member(place, "match", &match);
	(void)json_place_member(place, "secrets", &secrets);
	r = terms_parse(build, match, &grant);
	if (r == 0)
		r = entries_parse(build, secrets, &grant);
	if (r < 0 || build->complaints->count > before)
		return r;
	note_claims(build, place, &grant);
	build->files[build->policy->grants_count] = place.document->file;
	build->policy->grants[build->policy->grants_count++] = grant;
	grant = (struct policy_grant){ 0 };
	return 0;
}

static int add_document(struct policy_build *build, const struct json_document *document)
{
	const char *base = base_name(document->file);
	struct json_place grants = { 0 }, place;
	struct json_walk walk;

	/* The schema requires it. */
	(void)json_place_member(json_document_root(document), "grants", &grants);
	base = build_string(build, base, strlen(base));
	walk = json_walk_start(grants);
	while (json_walk_next(&walk, &place)) {
		const int r = add_grant(build, base, place);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- The whole. ---- */

/* The files as documents; those that are no JSON or break the schema are empty. */
struct documents {
	struct json_document *items;
	size_t count;
};

static void documents_done(struct documents *documents)
{
	for (size_t i = 0; i < documents->count; i++)
		json_document_done(&documents->items[i]);
	free(documents->items);
	*documents = (struct documents){ 0 };
}

static int read_documents(struct documents *documents, const struct policy_text *files,
	size_t count, struct complaints *complaints)
{
	MAYFLY_CLEANUP(json_schema_free_p) struct json_schema *schema = NULL;
	int r = json_schema_new(&policy_schema, &schema);

	if (r < 0)
		return r;
	documents->items = calloc(count + 1, sizeof *documents->items);
	if (!documents->items)
		return -ENOMEM;
	for (documents->count = 0; documents->count < count; documents->count++) {
		struct json_document *document = &documents->items[documents->count];
		const struct policy_text *file = &files[documents->count];

		r = json_document_parse(file->file, file->text, file->length, document, complaints);
		if (r == -ENOMEM)
			return r;
		if (r == 0 && !json_schema_check(schema, document, complaints))
			json_document_done(document);
	}
	return 0;
}

/* Room for every string: each stands in a file, where it is longer by its quotes. */
static int make_room(struct policy_build *build, const struct policy_text *files, size_t count,
	const struct documents *documents)
{
	size_t bytes = 1, grants = 0;

	for (size_t i = 0; i < count; i++) {
		json_t *list = json_object_get(documents->items[i].root, "grants");

		/* Twice: a file's default path is another string than the name. */
		bytes += 2 * files[i].length + strlen(files[i].file) + 1;
		grants += json_array_size(list);
	}
	build->policy->storage = malloc(bytes);
	build->policy->grants = calloc(grants + 1, sizeof *build->policy->grants);
	build->files = calloc(grants + 1, sizeof *build->files);
	if (!build->policy->storage || !build->policy->grants || !build->files)
		return -ENOMEM;
	build->room = build->policy->storage;
	build->room_end = build->room + bytes;
	return 0;
}

static int build_policy(struct policy_build *build, const struct policy_text *files, size_t count)
{
	MAYFLY_CLEANUP(documents_done) struct documents documents = { 0 };
	int r = read_documents(&documents, files, count, build->complaints);

	if (r == 0)
		r = make_room(build, files, count, &documents);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (documents.items[i].root)
			r = add_document(build, &documents.items[i]);
	return r == 0 ? overlap_check(build) : r;
}

int policy_parse(const struct policy_text *files, size_t count, const char *const *sets,
	size_t sets_count, struct policy **ret_policy, struct complaints *complaints,
	struct complaints *notes)
{
	const size_t before = complaints->count;
	struct policy *policy = calloc(1, sizeof *policy);
	struct policy_build build = { .policy = policy,
		.sets = sets,
		.sets_count = sets_count,
		.complaints = complaints,
		.notes = notes };
	int r;

	if (!policy)
		return -ENOMEM;
	policy->references = 1;
	r = build_policy(&build, files, count);
	free(build.files);
	if (r == 0 && complaints->count > before)
		r = -EINVAL;
	if (r < 0) {
		policy_unref(policy);
		return r;
	}
	*ret_policy = policy;
	return 0;
}

struct policy *policy_ref(struct policy *policy)
{
	policy->references++;
	return policy;
}

void policy_unref(struct policy *policy)
{
	if (!policy || --policy->references > 0)
		return;
	for (size_t i = 0; i < policy->grants_count; i++)
		grant_done(&policy->grants[i]);
	free(policy->grants);
	free(policy->storage);
	free(policy);
}
