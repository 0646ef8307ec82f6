#include "daemon/engine/candidates.h"

#include "daemon/engine/facts/container_state.h"
#include "daemon/engine/sandbox.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUESTION_TIMEOUT_MS 2000
#define QUESTION_MAX_BYTES  EVENT_MAX_BYTES

/* So many ids fit into an address. */
#define ASKED_AT_ONCE 32

static bool has_bundle(const struct engine_place *place, const char *id)
{
	char path[PATH_MAX];
	struct stat status;

	(void)snprintf(path, sizeof path, "%s/%s/moby/%s", place->exec_root, BUNDLES_OF_ENGINE, id);
	if (root_stat(place->root, path, &status) == 0)
		return true;
	(void)snprintf(path, sizeof path, "%s/moby/%s", BUNDLES_OF_CONTAINERD, id);
	return root_stat(place->root, path, &status) == 0;
}

/* A container is mounting only while its root file system is mounted. Where that cannot be told,
 * every container that does not run may be. */
static bool root_may_be_mounted(struct container_table *table, struct container_entry *entry)
{
	AUTO_FD root = container_entry_open_root(table, entry);

	return root != -ENODATA;
}

/* It may be the one whose files cannot be read: then it is named, so that it can be refused. While
 * it runs it has a bundle; while it mounts it has none yet. Its root must be seen to be mounted:
 * the other containers of the volume shall not suffer from one that lies about. */
static bool unreadable_may_be_mounting(struct container_table *table, struct container_entry *entry)
{
	AUTO_FD root = container_entry_open_root(table, entry);

	return root >= 0 && container_entry_is_announced(entry, time(NULL)) &&
	       !has_bundle(table->place, entry->id);
}

static bool may_be_mounting(
	struct container_table *table, struct container_entry *entry, const char *volume)
{
	if (entry->is_absent)
		return false;
	if (entry->unreadable)
		return unreadable_may_be_mounting(table, entry);
	if (!container_entry_uses_volume(entry, volume) || !root_may_be_mounted(table, entry))
		return false;
	if (container_entry_refresh(table, entry, false) < 0)
		return entry->unreadable && unreadable_may_be_mounting(table, entry);
	return !container_runs(&entry->record, entry->id);
}

static int choose(struct answer *answer, struct container_entry *entry)
{
	int r;

	if (!may_be_mounting(answer->answers->table, entry, answer->volume))
		return 0;
	r = id_list_add(&answer->chosen, entry->id);
	if (r == 0 && !container_entry_is_announced(entry, time(NULL)))
		r = id_list_add(&answer->undecided, entry->id);
	return r;
}

static void done(struct answer *answer, const char *error)
{
	json_t *frame = json_pack(
		"{s:s, s:I, s:s?}", "type", "done", "serial", answer->serial, "error", error);

	/* Too little memory for 40 bytes: the broker's deadline ends its waiting. */
	(void)answer->answers->owner.send(answer->answers->owner.context, frame);
	json_decref(frame);
}

static enum answer_step choosing(struct answer *answer, int64_t until_ns)
{
	struct container_table *table = answer->answers->table;

	/* Entries came or went meanwhile: positions mean nothing any more. */
	if (answer->generation != table->generation) {
		id_list_done(&answer->chosen);
		id_list_done(&answer->undecided);
		answer->generation = table->generation;
		answer->cursor = 0;
		answer->is_scanned = false;
		answer->phase = PHASE_LOADING;
		return STEP_MORE;
	}
	for (; answer->cursor < table->count; answer->cursor++) {
		if (monotonic_now_ns() >= until_ns)
			return STEP_MORE;
		if (choose(answer, table->entries[answer->cursor]) < 0) {
			done(answer, "out of memory");
			return STEP_DONE;
		}
	}
	if (answer->chosen.count > CANDIDATES_MAX) {
		done(answer, "too many containers with this volume start at once");
		return STEP_DONE;
	}
	answer->cursor = 0;
	answer->phase = answer->undecided.count > 0 ? PHASE_ASKING : PHASE_TELLING;
	return STEP_MORE;
}

static size_t asked_now(const struct answer *answer)
{
	const size_t left = answer->undecided.count - answer->asked;

	return left < ASKED_AT_ONCE ? left : ASKED_AT_ONCE;
}

static void announce(struct answer *answer, const char *id)
{
	struct container_entry *entry = container_table_find(answer->answers->table, id);

	if (entry)
		entry->is_announced = true;
}

/* Marks whom the engine's history names. Returns 0 or -EBADMSG. */
static int read_history(struct answer *answer, const char *body, size_t length)
{
	MAYFLY_CLEANUP(json_values_done) struct json_values values = { 0 };
	struct docker_event event;
	const char *bytes;
	size_t size;
	int r = json_values_add(&values, body, length);

	while (r == 0 && (r = json_values_next(&values, &bytes, &size)) == 1) {
		r = docker_event_decode(bytes, size, &event);
		if (r == 0 && event.action == DOCKER_CREATE)
			announce(answer, event.id);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

/* A Mount at `docker create` comes from an engine that answers. One that does not is booting, and
 * what it mounts for has existed before. One that answers others but not us says nothing. */
static void take_silence(struct answer *answer, const char *why)
{
	if (engine_link_is_connected(answer->answers->link)) {
		free(answer->silence);
		answer->silence = strdup(why);
		return;
	}
	for (size_t i = 0; i < asked_now(answer); i++)
		announce(answer, answer->undecided.ids[answer->asked + i]);
}

static void next_round(struct answer *answer)
{
	answer->asked += asked_now(answer);
	if (answer->asked == answer->undecided.count || answer->silence)
		answer->phase = PHASE_TELLING;
}

static void on_answered(void *context, const struct docker_answer *said)
{
	struct answer *answer = context;

	answer->question = NULL;
	if (said->error < 0)
		take_silence(answer, said->why);
	else if (said->status != 200)
		take_silence(answer, "it refused the question");
	else if (read_history(answer, said->body, said->length) < 0)
		take_silence(answer, "its answer cannot be read");
	next_round(answer);
	answers_resume(answer->answers);
}

/* All `create` events that the engine remembers of those that are asked about in this round. */
static int write_question(const struct answer *answer, char *path, size_t size)
{
	struct timespec now;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(path, size, "/events?since=1&until=%jd.%09ld&filters=", (intmax_t)now.tv_sec,
		now.tv_nsec);
	r = docker_query_append(
		path, size, "{\"type\":[\"container\"],\"event\":[\"create\"],\"container\":[");
	for (size_t i = 0; r == 0 && i < asked_now(answer); i++) {
		r = docker_query_append(path, size, i > 0 ? ",\"" : "\"");
		if (r == 0)
			r = docker_query_append(
				path, size, answer->undecided.ids[answer->asked + i]);
		if (r == 0)
			r = docker_query_append(path, size, "\"");
	}
	return r == 0 ? docker_query_append(path, size, "]}") : r;
}

static enum answer_step ask(struct answer *answer)
{
	char path[3500], versioned[3500 + 32];
	const struct docker_request request = {
		.path = versioned,
		.timeout_ms = QUESTION_TIMEOUT_MS,
		.limit_bytes = QUESTION_MAX_BYTES,
		.context = answer,
		.on_done = on_answered,
	};
	struct mayfly_error error;
	int r;

	if (answer->question)
		return STEP_PARKED;
	r = write_question(answer, path, sizeof path);
	if (r < 0)
		(void)error_errno(&error, r, "write the question");
	engine_link_path(answer->answers->link, path, versioned, sizeof versioned);
	if (r == 0)
		r = docker_http_get(
			answer->answers->link->http, &request, &answer->question, &error);
	if (r < 0) {
		take_silence(answer, error.text);
		next_round(answer);
		return STEP_MORE;
	}
	return STEP_PARKED;
}

static void tell(struct answer *answer, struct container_entry *entry)
{
	struct mayfly_error error;
	json_t *frame = json_pack(
		"{s:s, s:I, s:s}", "type", "candidate", "serial", answer->serial, "id", entry->id);

	if (!answer->silence || container_entry_is_announced(entry, time(NULL))) {
		/* Gone meanwhile: it mounts nothing any more. */
		(void)answers_tell(answer->answers, frame, entry);
		return;
	}
	(void)error_set(
		&error, -EAGAIN, "the engine did not say whether it exists: %s", answer->silence);
	answers_tell_error(answer->answers, frame, entry, &error);
}

static enum answer_step telling(struct answer *answer, int64_t until_ns)
{
	struct answers *answers = answer->answers;

	for (; answer->cursor < answer->chosen.count; answer->cursor++) {
		struct container_entry *entry;

		if (!answers->owner.has_room(answers->owner.context))
			return STEP_NO_ROOM;
		if (monotonic_now_ns() >= until_ns)
			return STEP_MORE;
		entry = container_table_find(answers->table, answer->chosen.ids[answer->cursor]);
		if (entry)
			tell(answer, entry);
	}
	done(answer, NULL);
	return STEP_DONE;
}

enum answer_step candidates_step(struct answer *answer, int64_t until_ns)
{
	switch (answer->phase) {
	case PHASE_CHOOSING:
		return choosing(answer, until_ns);
	case PHASE_ASKING:
		return ask(answer);
	case PHASE_TELLING:
		return telling(answer, until_ns);
	case PHASE_LOADING:
		break;
	}
	return STEP_DONE;
}

void candidates_cancel(struct answer *answer)
{
	if (answer->question)
		docker_call_cancel(answer->question);
	answer->question = NULL;
}
