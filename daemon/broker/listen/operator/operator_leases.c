/* Leases: who has what, and taking it away. */
#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_take.h"
#include "daemon/broker/listen/operator/operator_socket.h"
#include "daemon/broker/loop/deadline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REVOKED "revoked by an operator"

/* A revocation is looked at that often until it is done. */
#define LOOK_MS	     5
#define LOOK_MAX_MS  10000
#define LEASE_ID_MIN 6

#define REPLY_FILES 256

/* What a call asks for; all that is given must fit. Borrowed from its parameters. */
struct wish {
	const char *lease, *container, *grant, *secret;
};

static bool read_text(struct operator_job *job, const char *name, const char **ret_text)
{
	json_t *value = json_object_get(job->parameters, name);

	*ret_text = json_string_value(value);
	if (!value || json_is_null(value) || (*ret_text && (*ret_text)[0]))
		return true;
	/* What was meant is not guessed: it might be more. */
	job_fail(job, OPERATOR_ERROR("Invalid"), "`%s` must be a text that is not empty", name);
	return false;
}

static bool read_wish(struct operator_job *job, struct wish *wish)
{
	if (!read_text(job, "lease", &wish->lease) ||
		!read_text(job, "container", &wish->container) ||
		!read_text(job, "grant", &wish->grant) || !read_text(job, "secret", &wish->secret))
		return false;
	if (!wish->lease || strlen(wish->lease) >= LEASE_ID_MIN)
		return true;
	job_fail(job, OPERATOR_ERROR("Invalid"), "a lease is named by at least %d digits",
		LEASE_ID_MIN);
	return false;
}

static bool begins_with(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool is_secret(const struct used_secret *used, const char *reference)
{
	const size_t length = strlen(used->set);

	return strncmp(reference, used->set, length) == 0 && reference[length] == '/' &&
	       strcmp(reference + length + 1, used->name) == 0;
}

static bool fits_file(const struct wish *wish, const struct used_secret *used)
{
	/* Of a row from before files knew their grant it may be any. */
	return (!wish->grant || !used->grant[0] || strcmp(used->grant, wish->grant) == 0) &&
	       (!wish->secret || is_secret(used, wish->secret));
}

static bool fits(const struct wish *wish, const struct lease *lease)
{
	if (lease->state < LEASE_ARMING || lease->state > LEASE_RELEASED || lease->end_reason)
		return false;
	if (wish->lease && !begins_with(lease->delivery.hex, wish->lease))
		return false;
	if (wish->container && strcmp(lease_container_name(lease), wish->container) != 0 &&
		!begins_with(lease_container_id(lease), wish->container))
		return false;
	if (!wish->grant && !wish->secret)
		return true;
	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (fits_file(wish, &lease->used->items[i]))
			return true;
	return false;
}

/* A message has 256 KiB at most; a lease has files with names of up to 255 bytes each. */
static bool is_full(json_t *leases)
{
	json_t *lease;
	size_t files = 0, i;

	json_array_foreach (leases, i, lease)
		files += 1 + json_array_size(json_object_get(lease, "files"));
	return files >= REPLY_FILES;
}

/* False when there is nobody to list for any more. */
static bool list_one(struct operator_job *job, const struct lease *lease, json_t **leases)
{
	if (is_full(*leases)) {
		if (!job->wants_more) {
			job_fail(job, OPERATOR_ERROR("Failed"),
				"there are more than one reply has room for: call it with `more`");
			return false;
		}
		if (!varlink_continue(job->exchange, json_pack("{s:o}", "leases", *leases))) {
			*leases = NULL;
			return false;
		}
		*leases = json_array();
	}
	(void)json_array_append_new(*leases, lease_describe(lease));
	return true;
}

void on_list_leases(struct operator_job *job)
{
	json_t *leases = json_array();
	const struct lease *lease;
	struct wish wish;
	bool goes_on = read_wish(job, &wish);

	for (lease = TAILQ_FIRST(&job->broker->leases.leases); lease && goes_on;
		lease = TAILQ_NEXT(lease, entry))
		goes_on = !fits(&wish, lease) || list_one(job, lease, &leases);
	job->reply = json_pack("{s:o*}", "leases", leases);
	job_finish(job);
}

/* --- Revoke --- */

/* What was begun, until it is done. */
struct revocation {
	struct handle_group handles;
	struct deadline look;
	struct operator_job *job;
	json_t *whole, *parts; /* of which all, of which some files are to go: {lease: ...} */
	unsigned looks;
};

static void on_empty(struct handle_group *handles)
{
	struct revocation *revocation = container_of(handles, struct revocation, handles);

	json_decref(revocation->whole);
	json_decref(revocation->parts);
	free(revocation);
}

static bool is_done(const struct revocation *revocation)
{
	struct lease_context *context = &revocation->job->broker->leases;
	const char *id;
	json_t *ignored;

	json_object_foreach (revocation->whole, id, ignored) {
		const struct lease *lease = lease_find(context, id);

		if (lease && lease->state != LEASE_ENDED)
			return false;
	}
	json_object_foreach (revocation->parts, id, ignored) {
		const struct lease *lease = lease_find(context, id);

		if (lease && lease->state != LEASE_ENDED &&
			(lease->end_reason || json_object_size(lease->to_take) > 0))
			return false;
	}
	return true;
}

/* A container that has hidden its files from us. */
static const struct lease *find_unwiped(const struct revocation *revocation)
{
	struct lease_context *context = &revocation->job->broker->leases;
	const char *id;
	json_t *ignored;

	json_object_foreach (revocation->whole, id, ignored) {
		const struct lease *lease = lease_find(context, id);

		if (lease && lease->is_unwiped)
			return lease;
	}
	return NULL;
}

static void on_look(struct deadline *look)
{
	struct revocation *revocation = container_of(look, struct revocation, look);
	const struct lease *unwiped;

	if (!is_done(revocation)) {
		if (++revocation->looks < LOOK_MAX_MS / LOOK_MS) {
			deadline_arm(look, LOOK_MS);
			return;
		}
		job_fail(revocation->job, OPERATOR_ERROR("Failed"),
			"not everything is emptied yet; `mayfly leases` shows what is left, "
			"`mayfly "
			"audit` why");
	} else if ((unwiped = find_unwiped(revocation))) {
		job_fail(revocation->job, OPERATOR_ERROR("Failed"),
			"what %s has could not be found to be wiped, and it may still read it: "
			"stop it",
			lease_container_name(unwiped));
	}
	job_finish(revocation->job);
	if (handle_group_end(&revocation->handles)) {
		deadline_close(&revocation->look);
		handle_group_release(&revocation->handles);
	}
}

static void revoke_files(
	struct revocation *revocation, const struct wish *wish, struct lease *lease)
{
	json_t *paths = json_array();

	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (fits_file(wish, &lease->used->items[i]))
			(void)json_array_append_new(paths, json_string(lease->used->items[i].path));
	(void)json_object_set_new(revocation->parts, lease->delivery.hex, json_true());
	lease_take(lease, paths, REVOKED);
	json_decref(paths);
}

static unsigned revoke_all(struct revocation *revocation, const struct wish *wish)
{
	unsigned revoked = 0;
	struct lease *lease, *next;

	for (lease = TAILQ_FIRST(&revocation->job->broker->leases.leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		if (!fits(wish, lease))
			continue;
		revoked++;
		/* What nobody has yet goes as a whole. */
		if ((wish->grant || wish->secret) && lease->state == LEASE_RELEASED) {
			revoke_files(revocation, wish, lease);
		} else {
			(void)json_object_set_new(
				revocation->whole, lease->delivery.hex, json_true());
			lease_end(lease, REVOKED);
		}
	}
	return revoked;
}

static void run_revoke(struct operator_job *job)
{
	/* Leases are the loop's. */
	(void)job;
}

static void done_revoke(struct operator_job *job)
{
	struct revocation *revocation = calloc(1, sizeof *revocation);
	struct wish wish;

	if (!revocation || !read_wish(job, &wish)) {
		free(revocation);
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
		return;
	}
	job->is_continued = true;
	revocation->job = job;
	revocation->whole = json_object();
	revocation->parts = json_object();
	handle_group_init(&revocation->handles, on_empty);
	deadline_init(&revocation->look, job->broker->loop, &revocation->handles, on_look);
	job->reply = json_pack("{s:i}", "revoked", (int)revoke_all(revocation, &wish));
	deadline_arm(&revocation->look, LOOK_MS);
}

/* "container web-1, secret prod/db", for whoever reads the audit. */
static json_t *reason_of(const struct wish *wish)
{
	const char *const words[] = { "lease ", wish->lease, "container ", wish->container,
		"grant ", wish->grant, "secret ", wish->secret };
	char text[1024] = "";

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i += 2) {
		const size_t length = strlen(text);

		if (words[i + 1])
			(void)snprintf(text + length, sizeof text - length, "%s%s%.255s",
				length ? ", " : "", words[i], words[i + 1]);
	}
	return json_string(text[0] ? text : "everything");
}

void on_revoke(struct operator_job *job)
{
	const bool is_all = job_flag(job, "all");
	struct wish wish;

	if (!read_wish(job, &wish)) {
		job_finish(job);
		return;
	}
	if (is_all == (wish.lease || wish.container || wish.grant || wish.secret)) {
		job_fail(job, OPERATOR_ERROR("Invalid"),
			"say what: a lease, a container, a grant, a secret; or all");
		job_finish(job);
		return;
	}
	job->record = job_record(job, "revoke");
	(void)json_object_set_new(job->record, "reason", reason_of(&wish));
	job->run = run_revoke;
	job->done = done_revoke;
	job_start(job);
}
