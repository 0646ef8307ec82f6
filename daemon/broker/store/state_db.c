#include "daemon/broker/store/state_db.h"

#include "daemon/broker/store/sqlite/sqlite_db.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SHORTEST_ID_PREFIX "4"
#define TEXT_OF(number)	   TEXT_OF_(number)
#define TEXT_OF_(number)   #number

static const char *const schema[] = {
	"CREATE TABLE volume (engine TEXT NOT NULL, name TEXT NOT NULL, options TEXT NOT NULL, "
	"created INTEGER NOT NULL, PRIMARY KEY (engine, name)) STRICT",
	"CREATE TABLE delivery (mount_id TEXT NOT NULL PRIMARY KEY, record TEXT NOT NULL) STRICT",
	"CREATE TABLE rotation (id TEXT NOT NULL PRIMARY KEY, record TEXT NOT NULL) STRICT",
	"CREATE TABLE fact (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT",
	"CREATE TABLE decision (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
	"container_id TEXT NOT NULL, container_name TEXT NOT NULL, refused INTEGER NOT NULL, "
	"decision TEXT NOT NULL) STRICT",
	NULL,
};

enum state_statement {
	VOLUME_PUT,
	VOLUME_REMOVE,
	VOLUME_LIST,
	DELIVERY_PUT,
	DELIVERY_REMOVE,
	DELIVERY_LIST,
	ROTATION_PUT,
	ROTATION_REMOVE,
	ROTATION_LIST,
	FACT_PUT,
	FACT_GET,
	FACT_REMOVE,
	FACT_LIST,
	DECISION_DROP,
	DECISION_PUT,
	DECISION_TRIM,
	DECISION_GET,
	DECISION_CHANGE,
	DECISION_OF,
	DECISION_REFUSED,
	STATE_STATEMENTS,
};

static const char *const statements[] = {
	[VOLUME_PUT] = "INSERT INTO volume (engine, name, options, created) "
		       "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (engine, name) "
		       "DO UPDATE SET options = excluded.options, created = excluded.created",
	[VOLUME_REMOVE] = "DELETE FROM volume WHERE engine = ?1 AND name = ?2",
	[VOLUME_LIST] = "SELECT engine, name, options, created FROM volume ORDER BY engine, name",
	[DELIVERY_PUT] = "INSERT INTO delivery (mount_id, record) VALUES (?1, ?2) "
			 "ON CONFLICT (mount_id) DO UPDATE SET record = excluded.record",
	[DELIVERY_REMOVE] = "DELETE FROM delivery WHERE mount_id = ?1",
	[DELIVERY_LIST] = "SELECT mount_id, record FROM delivery",
	[ROTATION_PUT] = "INSERT INTO rotation (id, record) VALUES (?1, ?2) "
			 "ON CONFLICT (id) DO UPDATE SET record = excluded.record",
	[ROTATION_REMOVE] = "DELETE FROM rotation WHERE id = ?1",
	[ROTATION_LIST] = "SELECT record FROM rotation ORDER BY rowid",
	[FACT_PUT] = "INSERT INTO fact (name, value) VALUES (?1, ?2) "
		     "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
	[FACT_GET] = "SELECT value FROM fact WHERE name = ?1",
	[FACT_REMOVE] = "DELETE FROM fact WHERE name = ?1",
	[FACT_LIST] = "SELECT name, value FROM fact WHERE substr(name, 1, length(?1)) = ?1",
	[DECISION_DROP] = "DELETE FROM decision WHERE key = ?1",
	[DECISION_PUT] =
		"INSERT INTO decision (number, key, container_id, container_name, refused, "
		"decision) VALUES ((SELECT coalesce(max(number), 0) + 1 FROM decision), "
		"?1, ?2, ?3, ?4, ?5)",
	[DECISION_TRIM] = "DELETE FROM decision WHERE number IN (SELECT number FROM decision "
			  "ORDER BY number LIMIT max(0, (SELECT count(*) FROM decision) - " TEXT_OF(
				  STATE_DB_DECISIONS_KEPT) "))",
	[DECISION_GET] = "SELECT decision FROM decision WHERE key = ?1",
	[DECISION_CHANGE] = "UPDATE decision SET decision = ?2 WHERE key = ?1",
	/* An id in full comes before a name, a name before the beginning of an id. */
	[DECISION_OF] = "SELECT decision FROM decision WHERE container_id = ?1 OR "
			"container_name = ?1 OR (length(?1) >= " SHORTEST_ID_PREFIX
			" AND substr(container_id, 1, length(?1)) = ?1) "
			"ORDER BY container_id = ?1 DESC, container_name = ?1 DESC, number DESC "
			"LIMIT 1",
	[DECISION_REFUSED] = "SELECT decision FROM decision WHERE refused = 1 "
			     "ORDER BY number DESC LIMIT 1",
};

static const struct db_format state_format = {
	.file_name = "state.db",
	.kind = "state file",
	.application_id = 0x4d465344, /* "MFSD" */
	.version = 1,
	.schema = schema,
	.statements = statements,
	.statement_count = STATE_STATEMENTS,
	.cache_kib = 256,
};

struct state_db {
	pthread_mutex_t mutex;
	struct db *db;
};

static pthread_mutex_t *hold(struct state_db *state)
{
	(void)pthread_mutex_lock(&state->mutex); /* has no way to fail for this kind of mutex */
	return &state->mutex;
}

static void release_p(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex); /* as above */
}

#define AUTO_HELD __attribute__((unused)) MAYFLY_CLEANUP(release_p) pthread_mutex_t
#define AUTO_JSON MAYFLY_CLEANUP(json_decref_p) json_t

static void json_decref_p(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

int state_db_open(const char *directory, struct state_db **ret_db, struct mayfly_error *err)
{
	AUTO_FREE struct state_db *state = calloc(1, sizeof *state);
	int r;

	if (!state || pthread_mutex_init(&state->mutex, NULL) != 0)
		return error_errno(err, -ENOMEM, "open '%s'", state_format.file_name);
	r = db_open(directory, &state_format, &state->db, err);
	if (r == -ENOENT) {
		r = db_create(directory, &state_format, NULL, NULL, err);
		if (r == 0)
			r = db_open(directory, &state_format, &state->db, err);
	}
	if (r < 0) {
		(void)pthread_mutex_destroy(&state->mutex);
		return r;
	}
	*ret_db = ptr_take(&state);
	return 0;
}

void state_db_close(struct state_db *state)
{
	if (!state)
		return;
	db_close(state->db);
	(void)pthread_mutex_destroy(&state->mutex);
	free(state);
}

/* DURABLE: on the disk when the transaction is committed. Otherwise it is in the kernel then, which
 * outlives us but not a power loss; the next durable one takes it along. */
static int begin(
	struct state_db *state, bool durable, struct db **ret_open, struct mayfly_error *err)
{
	const int r = db_execute(state->db,
		durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
		"choose how to write", err);

	return r < 0 ? r : db_begin(state->db, ret_open, err);
}

/* Runs one bound statement as a transaction. */
static int write_one(struct state_db *state, bool durable, sqlite3_stmt *statement,
	const char *doing, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	int r;

	r = begin(state, durable, &open, err);
	if (r < 0)
		return r;
	r = db_run(state->db, statement, doing, err);
	if (r < 0)
		return r;
	return db_commit(&open, err);
}

static int json_to_text(const json_t *json, char **ret_text, struct mayfly_error *err)
{
	char *text = json_dumps(json, JSON_COMPACT);

	if (!text)
		return error_set(err, -EINVAL, "what should be kept is no JSON object");
	*ret_text = text;
	return 0;
}

static int text_to_json(struct state_db *state, sqlite3_stmt *row, int column, json_t **ret_json,
	struct mayfly_error *err)
{
	const char *text = (const char *)sqlite3_column_text(row, column);
	json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (!json)
		return error_set(err, -EUCLEAN, "a record in '%s' is damaged", db_path(state->db));
	*ret_json = json;
	return 0;
}

int state_db_volume_put(struct state_db *state, const char *engine, const char *name,
	json_t *options, int64_t created_unix_s, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_FREE char *text = NULL;
	AUTO_STATEMENT *put = db_statement(state->db, VOLUME_PUT);
	const int r = json_to_text(options, &text, err);

	if (r < 0)
		return r;
	bind_text(put, 1, engine);
	bind_text(put, 2, name);
	bind_text(put, 3, text);
	bind_number(put, 4, created_unix_s);
	return write_one(state, true, put, "write a volume", err);
}

int state_db_volume_remove(
	struct state_db *state, const char *engine, const char *name, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *remove = db_statement(state->db, VOLUME_REMOVE);

	bind_text(remove, 1, engine);
	bind_text(remove, 2, name);
	return write_one(state, true, remove, "remove a volume", err);
}

static int append_volume(
	struct state_db *state, sqlite3_stmt *row, json_t *volumes, struct mayfly_error *err)
{
	AUTO_JSON *options = NULL;
	json_t *volume;
	const int r = text_to_json(state, row, 2, &options, err);

	if (r < 0)
		return r;
	volume = json_pack("{s:s, s:s, s:O, s:I}", "engine", sqlite3_column_text(row, 0), "name",
		sqlite3_column_text(row, 1), "options", options, "created",
		(json_int_t)sqlite3_column_int64(row, 3));
	if (!volume || json_array_append_new(volumes, volume) != 0)
		return error_set(err, -EUCLEAN, "a volume in '%s' is damaged", db_path(state->db));
	return 0;
}

int state_db_volumes(struct state_db *state, json_t **ret_volumes, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_JSON *volumes = json_array();
	AUTO_STATEMENT *list = db_statement(state->db, VOLUME_LIST);
	int r;

	if (!volumes)
		return error_errno(err, -ENOMEM, "list the volumes");
	while ((r = db_next(state->db, list, "list the volumes", err)) == 1) {
		r = append_volume(state, list, volumes, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_volumes = ptr_take(&volumes);
	return 0;
}

int state_db_delivery_put(
	struct state_db *state, const char *mount_id, json_t *record, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_FREE char *text = NULL;
	AUTO_STATEMENT *put = db_statement(state->db, DELIVERY_PUT);
	const int r = json_to_text(record, &text, err);

	if (r < 0)
		return r;
	bind_text(put, 1, mount_id);
	bind_text(put, 2, text);
	return write_one(state, false, put, "write a delivery", err);
}

int state_db_delivery_remove(struct state_db *state, const char *mount_id, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *remove = db_statement(state->db, DELIVERY_REMOVE);

	bind_text(remove, 1, mount_id);
	return write_one(state, false, remove, "remove a delivery", err);
}

static int append_delivery(
	struct state_db *state, sqlite3_stmt *row, json_t *deliveries, struct mayfly_error *err)
{
	const char *mount_id = (const char *)sqlite3_column_text(row, 0);
	json_t *record;
	const int r = text_to_json(state, row, 1, &record, err);

	if (r < 0)
		return r;
	if (!mount_id || json_object_set_new(deliveries, mount_id, record) != 0)
		return error_set(
			err, -EUCLEAN, "a delivery in '%s' is damaged", db_path(state->db));
	return 0;
}

int state_db_deliveries(struct state_db *state, json_t **ret_deliveries, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_JSON *deliveries = json_object();
	AUTO_STATEMENT *list = db_statement(state->db, DELIVERY_LIST);
	int r;

	if (!deliveries)
		return error_errno(err, -ENOMEM, "list the deliveries");
	while ((r = db_next(state->db, list, "list the deliveries", err)) == 1) {
		r = append_delivery(state, list, deliveries, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_deliveries = ptr_take(&deliveries);
	return 0;
}

int state_db_rotation_put(
	struct state_db *state, const char *id, json_t *record, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_FREE char *text = NULL;
	AUTO_STATEMENT *put = db_statement(state->db, ROTATION_PUT);
	const int r = json_to_text(record, &text, err);

	if (r < 0)
		return r;
	bind_text(put, 1, id);
	bind_text(put, 2, text);
	return write_one(state, false, put, "write a rotation", err);
}

int state_db_rotation_remove(struct state_db *state, const char *id, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *remove = db_statement(state->db, ROTATION_REMOVE);

	bind_text(remove, 1, id);
	return write_one(state, false, remove, "remove a rotation", err);
}

int state_db_rotations(struct state_db *state, json_t **ret_rotations, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_JSON *rotations = json_array();
	AUTO_STATEMENT *list = db_statement(state->db, ROTATION_LIST);
	json_t *record;
	int r;

	if (!rotations)
		return error_errno(err, -ENOMEM, "list the rotations");
	while ((r = db_next(state->db, list, "list the rotations", err)) == 1) {
		r = text_to_json(state, list, 0, &record, err);
		if (r < 0)
			return r;
		(void)json_array_append_new(rotations, record);
	}
	if (r < 0)
		return r;
	*ret_rotations = ptr_take(&rotations);
	return 0;
}

int state_db_fact_put(
	struct state_db *state, const char *name, const char *value, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *put = db_statement(state->db, FACT_PUT);

	bind_text(put, 1, name);
	bind_text(put, 2, value);
	return write_one(state, false, put, "write a fact", err);
}

int state_db_fact(
	struct state_db *state, const char *name, char **ret_value, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *get = db_statement(state->db, FACT_GET);
	const char *text;
	char *value = NULL;
	int r;

	bind_text(get, 1, name);
	r = db_next(state->db, get, "read a fact", err);
	if (r < 0)
		return r;
	if (r == 1) {
		text = (const char *)sqlite3_column_text(get, 0);
		value = text ? strdup(text) : NULL;
		if (!value)
			return error_errno(err, -ENOMEM, "read a fact");
	}
	*ret_value = value;
	return 0;
}

int state_db_fact_remove(struct state_db *state, const char *name, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *remove = db_statement(state->db, FACT_REMOVE);

	bind_text(remove, 1, name);
	return write_one(state, false, remove, "remove a fact", err);
}

int state_db_facts(
	struct state_db *state, const char *prefix, json_t **ret_facts, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *list = db_statement(state->db, FACT_LIST);
	AUTO_JSON *facts = json_object();
	int r;

	bind_text(list, 1, prefix);
	while ((r = db_next(state->db, list, "list facts", err)) == 1)
		if (json_object_set_new(facts, (const char *)sqlite3_column_text(list, 0),
			    json_string((const char *)sqlite3_column_text(list, 1))) < 0)
			return error_errno(err, -ENOMEM, "list facts");
	if (r < 0)
		return r;
	*ret_facts = ptr_take(&facts);
	return 0;
}

static int run_on_key(struct state_db *state, enum state_statement which, const char *key,
	struct mayfly_error *err)
{
	AUTO_STATEMENT *statement = db_statement(state->db, which);

	if (key)
		bind_text(statement, 1, key);
	return db_run(state->db, statement, "make room for a decision", err);
}

static int write_decision(
	struct state_db *state, sqlite3_stmt *put, const char *key, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	int r;

	r = begin(state, false, &open, err);
	if (r < 0)
		return r;
	r = run_on_key(state, DECISION_DROP, key, err);
	if (r < 0)
		return r;
	r = db_run(state->db, put, "write a decision", err);
	if (r < 0)
		return r;
	r = run_on_key(state, DECISION_TRIM, NULL, err);
	if (r < 0)
		return r;
	return db_commit(&open, err);
}

int state_db_decision_put(struct state_db *state, const char *key, const char *container_id,
	const char *container_name, bool refused, json_t *decision, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_FREE char *text = NULL;
	AUTO_STATEMENT *put = db_statement(state->db, DECISION_PUT);
	const int r = json_to_text(decision, &text, err);

	if (r < 0)
		return r;
	bind_text(put, 1, key);
	bind_text(put, 2, container_id);
	bind_text(put, 3, container_name);
	bind_number(put, 4, refused);
	bind_text(put, 5, text);
	return write_decision(state, put, key, err);
}

/* The decision of KEY with the end put into it; *RET_TEXT is the caller's, NULL when there is no
 * such decision. */
static int ended_decision(struct state_db *state, const char *key, const char *summary,
	char **ret_text, struct mayfly_error *err)
{
	AUTO_STATEMENT *get = db_statement(state->db, DECISION_GET);
	AUTO_JSON *decision = NULL;
	int r;

	*ret_text = NULL;
	bind_text(get, 1, key);
	r = db_next(state->db, get, "read a decision", err);
	if (r == 1)
		r = text_to_json(state, get, 0, &decision, err);
	if (r < 0 || !decision)
		return r;
	if (json_object_set_new(decision, "outcome", json_string("ended")) != 0 ||
		json_object_set_new(decision, "summary", json_string(summary)) != 0 ||
		json_array_append_new(json_object_get(decision, "steps"),
			json_pack("{s:s, s:s, s:s}", "step", "end", "outcome", "noted", "evidence",
				summary)) != 0)
		return error_errno(err, -ENOMEM, "end a decision");
	return json_to_text(decision, ret_text, err);
}

int state_db_decision_end(
	struct state_db *state, const char *key, const char *summary, struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *change = db_statement(state->db, DECISION_CHANGE);
	AUTO_FREE char *text = NULL;
	const int r = ended_decision(state, key, summary, &text, err);

	if (r < 0 || !text)
		return r;
	bind_text(change, 1, key);
	bind_text(change, 2, text);
	return write_one(state, false, change, "end a decision", err);
}

int state_db_decision(struct state_db *state, const char *container, json_t **ret_decision,
	struct mayfly_error *err)
{
	AUTO_HELD *held = hold(state);
	AUTO_STATEMENT *find = db_statement(state->db, container ? DECISION_OF : DECISION_REFUSED);
	char shown[80];
	int r;

	if (container)
		bind_text(find, 1, container);
	r = db_next(state->db, find, "look for a decision", err);
	if (r < 0)
		return r;
	if (r == 1)
		return text_to_json(state, find, 0, ret_decision, err);
	if (!container)
		return error_set(err, -ENOENT, "nothing was refused yet");
	return error_set(err, -ENOENT, "nothing was decided about a container '%s'",
		error_quote(shown, sizeof shown, container, strlen(container)));
}
