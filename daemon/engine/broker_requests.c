#include "daemon/engine/broker_requests.h"

#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int on_hello(struct engine_session *session, json_t *frame, struct mayfly_error *err)
{
	json_t *value = json_object_get(frame, "data_root");
	const char *data_root = json_string_value(value);

	if (!json_is_null(value) && (!data_root || data_root[0] != '/' ||
					    strlen(data_root) >= sizeof session->place.data_root))
		return error_set(err, -EBADMSG, "a hello without a directory");
	if (data_root && session->place.data_root[0] == '\0')
		(void)snprintf(
			session->place.data_root, sizeof session->place.data_root, "%s", data_root);
	session->is_greeted = session->was_greeted = true;
	engine_session_tell_state(session);
	engine_session_reconcile(session);
	return 0;
}

/* Safe because it is only a place to resolve paths from: what may be read there was decided when
 * the sandbox was narrowed, or will be. */
static int on_root(struct engine_session *session, int *passed, struct mayfly_error *err)
{
	struct stat status;

	if (*passed < 0 || fstat(*passed, &status) != 0 || !S_ISDIR(status.st_mode))
		return error_set(err, -EBADMSG, "a root without a directory's descriptor");
	fd_close_p(&session->place.root);
	session->place.root = fd_take(passed);
	/* What is known from its mounts may be otherwise than in ours. */
	engine_session_tell_state(session);
	if (!session->has_files) {
		engine_link_poke(&session->link);
		return 0;
	}
	if (!engine_session_data_root_is_the_same(session)) {
		engine_session_leave(session, "the engine lives in another mount namespace");
		return 0;
	}
	container_table_done(&session->table);
	image_digests_done(&session->digests);
	bundle_watch_restart(&session->bundles);
	engine_session_reconcile(session);
	return 0;
}

static int on_request(
	struct engine_session *session, json_t *frame, const char *type, struct mayfly_error *err)
{
	json_t *serial = json_object_get(frame, "serial");
	const char *volume = json_string_value(json_object_get(frame, "volume"));
	const char *id = json_string_value(json_object_get(frame, "id"));
	enum answer_kind kind = ANSWER_INVALID;

	if (strcmp(type, "candidates") == 0 && volume)
		kind = ANSWER_CANDIDATES;
	else if (strcmp(type, "container") == 0 && id && container_id_is_valid(id))
		kind = ANSWER_CONTAINER;
	else if (strcmp(type, "containers") == 0)
		kind = ANSWER_CONTAINERS;
	if (kind == ANSWER_INVALID || !json_is_integer(serial))
		return error_set(err, -EBADMSG, "a request that this engine does not know");
	/* Whoever mounts is alive. */
	if (kind == ANSWER_CANDIDATES)
		engine_link_poke(&session->link);
	if (answers_add(&session->answers, kind, json_integer_value(serial),
		    kind == ANSWER_CANDIDATES ? volume : NULL,
		    kind == ANSWER_CONTAINER ? id : NULL) < 0)
		return error_errno(err, -ENOMEM, "take a request");
	return 0;
}

static int on_restart(struct engine_session *session, json_t *frame, struct mayfly_error *err)
{
	json_t *serial = json_object_get(frame, "serial");
	json_t *timeout = json_object_get(frame, "timeout_s");
	const json_int_t timeout_s = json_integer_value(timeout);
	const char *id = json_string_value(json_object_get(frame, "id"));

	/* Safe because an id of hex digits is nothing but a container's in the engine's path. */
	if (!json_is_integer(serial) || !id || !container_id_is_valid(id) ||
		!json_is_integer(timeout) || timeout_s < 0 || timeout_s > RESTART_TIMEOUT_MAX_S)
		return error_set(err, -EBADMSG, "a restart that breaks the rules");
	if (restarts_add(&session->restarts, json_integer_value(serial), id, (unsigned)timeout_s) <
		0)
		return error_errno(err, -ENOMEM, "take a restart");
	return 0;
}

static int on_frame(void *context, json_t *frame, int *passed, struct mayfly_error *err)
{
	struct engine_session *session = context;
	const char *type = json_string_value(json_object_get(frame, "type"));
	int r;

	if (!type)
		return error_set(err, -EBADMSG, "a frame without a type");
	if (strcmp(type, "hello") == 0 && !session->is_greeted)
		r = on_hello(session, frame, err);
	else if (!session->is_greeted)
		r = error_set(err, -EBADMSG, "a frame before hello");
	else if (strcmp(type, "root") == 0)
		r = on_root(session, passed, err);
	else if (strcmp(type, "restart") == 0)
		r = on_restart(session, frame, err);
	else
		r = on_request(session, frame, type, err);
	if (r == 0)
		engine_session_balance(session);
	return r;
}

static void on_broker_room(void *context)
{
	struct engine_session *session = context;

	answers_resume(&session->answers);
}

void broker_requests_forget(struct engine_session *session)
{
	session->broker = NULL;
	session->is_greeted = false;
	answers_clear(&session->answers);
	restarts_forget(&session->restarts);
	/* The table is kept up to date for the next one. */
	if (!session->is_reconciled)
		engine_session_reconcile(session);
	engine_session_balance(session);
}

static void on_broker_end(void *context)
{
	log_notice("the broker has gone: waiting for the next one");
	broker_requests_forget(context);
}

static void on_broker_broken(void *context, const struct mayfly_error *err)
{
	struct engine_session *session = context;

	log_error("the broker sent what breaks the protocol: %s", err->text);
	session->broker = NULL;
	engine_session_stop(session, EXIT_FAILURE);
}

int broker_requests_open(struct engine_session *session, int socket, struct mayfly_error *err)
{
	const struct broker_channel_owner owner = {
		.context = session,
		.on_frame = on_frame,
		.on_room = on_broker_room,
		.on_end = on_broker_end,
		.on_broken = on_broker_broken,
	};

	return broker_channel_new(session->loop, socket, &owner, &session->broker, err);
}
