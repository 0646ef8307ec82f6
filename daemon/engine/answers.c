#include "daemon/engine/answers.h"

#include "daemon/engine/candidates.h"
#include "daemon/engine/facts/container_object.h"
#include "daemon/engine/facts/container_state.h"
#include "proto/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_NS 4000000

int64_t monotonic_now_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t real_now_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_REALTIME, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int id_list_add(struct id_list *list, const char *id)
{
	char(*ids)[CONTAINER_ID_LENGTH + 1] = reallocarray(list->ids, list->count + 1, sizeof *ids);

	if (!ids)
		return -ENOMEM;
	list->ids = ids;
	memcpy(ids[list->count++], id, sizeof *ids);
	return 0;
}

void id_list_done(struct id_list *list)
{
	free(list->ids);
	*list = (struct id_list){ 0 };
}

static int send_frame(struct answers *answers, json_t *frame)
{
	return answers->owner.send(answers->owner.context, frame);
}

void answers_tell_error(struct answers *answers, json_t *frame, const struct container_entry *entry,
	struct mayfly_error *why)
{
	const char *name = entry->record.name ? entry->record.name : entry->id;
	char quoted[96];

	(void)error_within(
		why, "container '%s'", error_quote(quoted, sizeof quoted, name, strlen(name)));
	/* Where memory is short nothing is sent: the broker's deadline ends its waiting. */
	(void)json_object_set_new(frame, "container", json_null());
	(void)json_object_set_new(frame, "error", json_string(why->text));
	(void)send_frame(answers, frame);
	json_decref(frame);
}

int answers_tell(struct answers *answers, json_t *frame, struct container_entry *entry)
{
	struct mayfly_error error;
	json_t *object = NULL;
	int r;

	r = container_object_make(answers->table, entry, answers->digests, &object, &error);
	if (r == -ENOENT) {
		json_decref(frame);
		return r;
	}
	if (r == 0) {
		(void)json_object_set_new(frame, "error", json_null());
		(void)json_object_set_new(frame, "container", object);
		r = send_frame(answers, frame);
		if (r < 0)
			(void)error_set(
				&error, r, "its facts do not fit into %d bytes", FRAME_MAX_BYTES);
	}
	if (r < 0)
		answers_tell_error(answers, frame, entry, &error);
	else
		json_decref(frame);
	return 0;
}

static json_t *new_frame(const struct answer *answer, const char *type)
{
	return json_pack("{s:s, s:I}", "type", type, "serial", answer->serial);
}

static void finish(struct answer *answer, const struct mayfly_error *err)
{
	json_t *frame = new_frame(answer, "done");

	(void)json_object_set_new(frame, "error", err ? json_string(err->text) : json_null());
	(void)send_frame(answer->answers, frame);
	json_decref(frame);
}

static void tell_nothing(struct answer *answer)
{
	json_t *frame = new_frame(answer, "container");

	(void)json_object_set_new(frame, "container", json_null());
	(void)json_object_set_new(frame, "error", json_null());
	(void)send_frame(answer->answers, frame);
	json_decref(frame);
}

/* Whether it runs is told of every container, facts only of those that use our driver. */
static void tell_running(struct answer *answer, struct container_entry *entry)
{
	struct answers *answers = answer->answers;
	json_t *frame;

	if (container_entry_refresh(answers->table, entry, false) < 0 ||
		!container_runs(&entry->record, entry->id))
		return;
	entry->reported_ns = real_now_ns();
	frame = json_pack("{s:s, s:s, s:i, s:n, s:n}", "type", "running", "id", entry->id, "pid",
		(int)entry->record.pid, "container", "error");
	if (entry->record.uses_plugin) {
		(void)answers_tell(answers, frame, entry);
		return;
	}
	(void)send_frame(answers, frame);
	json_decref(frame);
}

static void tell(struct answer *answer, struct container_entry *entry)
{
	switch (answer->kind) {
	case ANSWER_CONTAINER:
		if (!entry ||
			answers_tell(answer->answers, new_frame(answer, "container"), entry) < 0)
			tell_nothing(answer);
		break;
	case ANSWER_CONTAINERS:
		if (entry)
			(void)answers_tell(answer->answers, new_frame(answer, "container"), entry);
		break;
	case ANSWER_RECONCILE:
		if (entry)
			tell_running(answer, entry);
		break;
	case ANSWER_CANDIDATES:
	case ANSWER_INVALID:
		break;
	}
}

static void tell_end(struct answer *answer)
{
	json_t *frame;

	if (answer->kind == ANSWER_CONTAINERS)
		finish(answer, NULL);
	if (answer->kind != ANSWER_RECONCILE)
		return;
	frame = json_pack("{s:s}", "type", "synchronised");
	(void)send_frame(answer->answers, frame);
	json_decref(frame);
}

static enum answer_step telling(struct answer *answer, int64_t until_ns)
{
	struct answers *answers = answer->answers;

	for (; answer->cursor < answer->chosen.count; answer->cursor++) {
		if (!answers->owner.has_room(answers->owner.context))
			return STEP_NO_ROOM;
		if (monotonic_now_ns() >= until_ns)
			return STEP_MORE;
		tell(answer,
			container_table_find(answers->table, answer->chosen.ids[answer->cursor]));
	}
	tell_end(answer);
	return STEP_DONE;
}

static int choose(struct answer *answer)
{
	const struct container_table *table = answer->answers->table;

	if (answer->kind == ANSWER_CONTAINER)
		return id_list_add(&answer->chosen, answer->id);
	for (size_t i = 0; i < table->count; i++) {
		const struct container_entry *entry = table->entries[i];

		if (answer->kind == ANSWER_CONTAINERS && !entry->record.uses_plugin)
			continue;
		if (id_list_add(&answer->chosen, entry->id) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void fail(struct answer *answer, const struct mayfly_error *err)
{
	/* The end of a reconciliation is told to the owner instead. */
	if (answer->kind != ANSWER_RECONCILE)
		finish(answer, err);
}

static enum answer_step loading(
	struct answer *answer, int64_t until_ns, struct mayfly_error *ret_error)
{
	struct answers *answers = answer->answers;
	const enum scan_kind kind =
		answer->kind == ANSWER_RECONCILE ? SCAN_PRESUMING : SCAN_IF_CHANGED;
	int r = 0;

	if (!answer->is_scanned) {
		r = answers->owner.open_files(answers->owner.context, ret_error);
		if (r == 0)
			r = container_table_scan(answers->table, kind, ret_error);
		answer->is_scanned = true;
		answer->generation = answers->table->generation;
	}
	if (r < 0) {
		fail(answer, ret_error);
		return STEP_DONE;
	}
	/* Entries that come or go move the others: the settled ones are passed over quickly. */
	if (answer->generation != answers->table->generation)
		answer->cursor = 0;
	answer->generation = answers->table->generation;
	if (!container_table_load(answers->table, &answer->cursor, until_ns))
		return STEP_MORE;
	answer->cursor = 0;
	answer->phase = PHASE_CHOOSING;
	return STEP_MORE;
}

static enum answer_step step(
	struct answer *answer, int64_t until_ns, struct mayfly_error *ret_error)
{
	if (answer->phase == PHASE_LOADING)
		return loading(answer, until_ns, ret_error);
	if (answer->kind == ANSWER_CANDIDATES)
		return candidates_step(answer, until_ns);
	if (answer->phase == PHASE_TELLING)
		return telling(answer, until_ns);
	if (choose(answer) < 0) {
		(void)error_errno(ret_error, -ENOMEM, "choose containers");
		fail(answer, ret_error);
		return STEP_DONE;
	}
	answer->phase = PHASE_TELLING;
	return STEP_MORE;
}

static void answer_free(struct answer *answer)
{
	candidates_cancel(answer);
	id_list_done(&answer->chosen);
	id_list_done(&answer->undecided);
	free(answer->volume);
	free(answer->silence);
	free(answer);
}

static void end(struct answers *answers, struct answer **place, const struct mayfly_error *err)
{
	struct answer *answer = *place;
	const bool was_reconcile = answer->kind == ANSWER_RECONCILE;

	*place = answer->next;
	answers->count--;
	answer_free(answer);
	container_table_trim(answers->table);
	if (was_reconcile)
		answers->owner.on_reconciled(answers->owner.context, err->code < 0 ? err : NULL);
}

static void on_idle(uv_idle_t *idle)
{
	answers_resume(idle->data);
}

/* Runs answers until there is nothing to do or a slice of time is used. Returns whether there is
 * more to do at once. */
static bool run(struct answers *answers)
{
	const int64_t until_ns = monotonic_now_ns() + SLICE_NS;
	struct answer **place = &answers->first;

	while (*place) {
		struct mayfly_error error = { .code = 0 };

		switch (step(*place, until_ns, &error)) {
		case STEP_DONE:
			end(answers, place, &error);
			/* The owner may have changed the list. */
			place = &answers->first;
			break;
		case STEP_PARKED:
			place = &(*place)->next;
			break;
		case STEP_NO_ROOM:
			return false;
		case STEP_MORE:
			if (monotonic_now_ns() >= until_ns)
				return true;
			break;
		}
	}
	return false;
}

void answers_resume(struct answers *answers)
{
	if (answers->is_running || !answers->is_open)
		return;
	answers->is_running = true;
	/* Both fail for a closing handle only. */
	if (run(answers))
		(void)uv_idle_start(&answers->idle, on_idle);
	else
		(void)uv_idle_stop(&answers->idle);
	answers->is_running = false;
	answers->owner.on_progress(answers->owner.context);
}

/* What somebody waits for in a Mount goes before what fills tables. */
static struct answer **place_for(struct answers *answers, enum answer_kind kind)
{
	struct answer **place = &answers->first;

	while (*place && (*place)->kind <= kind)
		place = &(*place)->next;
	return place;
}

int answers_add(struct answers *answers, enum answer_kind kind, json_int_t serial,
	const char *volume, const char *id)
{
	struct answer *answer = calloc(1, sizeof *answer);
	struct answer **place = place_for(answers, kind);

	if (!answer)
		return -ENOMEM;
	answer->answers = answers;
	answer->kind = kind;
	answer->serial = serial;
	if (id)
		memcpy(answer->id, id, sizeof answer->id);
	if (volume)
		answer->volume = strdup(volume);
	if (volume && !answer->volume) {
		free(answer);
		return -ENOMEM;
	}
	answer->next = *place;
	*place = answer;
	answers->count++;
	answers_resume(answers);
	return 0;
}

bool answers_are_reconciling(const struct answers *answers)
{
	for (const struct answer *answer = answers->first; answer; answer = answer->next)
		if (answer->kind == ANSWER_RECONCILE)
			return true;
	return false;
}

void answers_clear(struct answers *answers)
{
	while (answers->first) {
		struct answer *answer = answers->first;

		answers->first = answer->next;
		answer_free(answer);
	}
	answers->count = 0;
	if (answers->is_open)
		(void)uv_idle_stop(&answers->idle); /* cannot fail */
}

void answers_open(struct answers *answers, uv_loop_t *loop, const struct answers_owner *owner)
{
	(void)uv_idle_init(loop, &answers->idle); /* cannot fail */
	answers->idle.data = answers;
	answers->owner = *owner;
	answers->is_open = true;
}

void answers_close(struct answers *answers)
{
	if (!answers->is_open)
		return;
	answers_clear(answers);
	answers->is_open = false;
	uv_close((uv_handle_t *)&answers->idle, NULL);
}
