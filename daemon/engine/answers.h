/* What the broker has asked for and has not been told yet, in slices: reading a thousand containers
 * takes longer than the loop may be held up, and a broker that does not read stops the telling.
 *
 * Every answer first brings the table up to date with the disk, then chooses its containers by id
 * (an entry may go at any time), then tells one after the other. */
#pragma once

#include "daemon/engine/api/engine_link.h"
#include "daemon/engine/facts/container_table.h"
#include "daemon/engine/facts/image_digests.h"
#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

/* The broker's requests are not read while this many wait. */
#define ANSWERS_MAX 32

enum answer_kind {
	ANSWER_INVALID = 0,
	ANSWER_CANDIDATES,
	ANSWER_CONTAINER,
	ANSWER_CONTAINERS,
	ANSWER_RECONCILE, /* `running` for each, then `synchronised`; nobody asked */
};

enum answer_phase { PHASE_LOADING = 0, PHASE_CHOOSING, PHASE_ASKING, PHASE_TELLING };

enum answer_step {
	STEP_DONE = 0,
	STEP_MORE,    /* its time is up */
	STEP_PARKED,  /* waits for the engine */
	STEP_NO_ROOM, /* waits for the broker */
};

struct id_list {
	char (*ids)[CONTAINER_ID_LENGTH + 1];
	size_t count;
};

struct answer {
	struct answer *next;
	struct answers *answers;
	enum answer_kind kind;
	enum answer_phase phase;
	json_int_t serial;
	char *volume;
	char id[CONTAINER_ID_LENGTH + 1];
	bool is_scanned;
	size_t cursor;
	uint64_t generation; /* of the table, for CURSOR */
	struct id_list chosen;
	/* Of ANSWER_CANDIDATES: whom the engine has to be asked about. */
	struct id_list undecided;
	size_t asked;
	struct docker_call *question;
	char *silence; /* why the engine did not say, or NULL */
};

struct answers_owner {
	void *context;
	/* FRAME is borrowed. 0, -EMSGSIZE or -ENOMEM. */
	int (*send)(void *context, json_t *frame);
	bool (*has_room)(void *context);
	/* Makes the engine's files readable, once. */
	int (*open_files)(void *context, struct mayfly_error *err);
	/* The disk has been read; ERR NULL, or why it could not be. */
	void (*on_reconciled)(void *context, const struct mayfly_error *err);
	/* Some answers may be done. */
	void (*on_progress)(void *context);
};

struct answers {
	uv_idle_t idle;
	struct container_table *table;
	struct image_digests *digests;
	struct engine_link *link;
	struct answers_owner owner;
	struct answer *first;
	size_t count;
	bool is_open;
	bool is_running;
};

/* ANSWERS, TABLE, DIGESTS and LINK must live until the loop has closed the handle. */
void answers_open(struct answers *answers, uv_loop_t *loop, const struct answers_owner *owner);

/* Adds an answer and begins with it at once. VOLUME or ID as KIND needs it, else NULL.
 * Returns 0 or -ENOMEM. */
int answers_add(struct answers *answers, enum answer_kind kind, json_int_t serial,
	const char *volume, const char *id);

/* Goes on where there was no room. */
void answers_resume(struct answers *answers);

/* Forgets everything: the broker that asked has gone. */
void answers_clear(struct answers *answers);
void answers_close(struct answers *answers);

bool answers_are_reconciling(const struct answers *answers);

/* For answers of every kind: sets `container` and `error` of FRAME (which is taken) to what can be
 * said about ENTRY and sends it. Returns 0, or -ENOENT when ENTRY's files are gone: nothing is
 * sent. */
int answers_tell(struct answers *answers, json_t *frame, struct container_entry *entry);

/* As answers_tell() with the reason WHY instead of facts. */
void answers_tell_error(struct answers *answers, json_t *frame, const struct container_entry *entry,
	struct mayfly_error *why);

/* Adds an id. Returns 0 or -ENOMEM. */
int id_list_add(struct id_list *list, const char *id);
void id_list_done(struct id_list *list);

int64_t monotonic_now_ns(void);
