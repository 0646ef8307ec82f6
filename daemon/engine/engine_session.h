/* mayfly-engine as a whole: one engine on one side, one broker on the other, the engine's disk
 * below. Holds the parts together; decides nothing about secrets, because it sees none. */
#pragma once

#include "daemon/engine/answers.h"
#include "daemon/engine/api/engine_link.h"
#include "daemon/engine/broker_channel.h"
#include "daemon/engine/bundle_starts.h"
#include "daemon/engine/bundle_watch.h"
#include "daemon/engine/control_channel.h"
#include "daemon/engine/facts/container_table.h"
#include "daemon/engine/facts/image_digests.h"
#include "daemon/engine/restarts.h"
#include "proto/error.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <uv.h>

struct engine_arguments {
	const char *socket;
	const char *plugin_name;
	const char *exec_root;
};

struct engine_session {
	uv_loop_t *loop;
	const struct engine_arguments *arguments;
	struct engine_place place;
	struct container_table table;
	struct image_digests digests;
	struct engine_link link;
	struct answers answers;
	struct restarts restarts;
	struct control_channel control;
	struct broker_channel *broker; /* NULL while there is none */
	struct bundle_watch bundles;
	struct bundle_starts starts;
	struct engine_info info; /* valid while connected */
	char waiting[256];	 /* why it is not connected */
	struct stat data_root;	 /* that the sandbox allows to read */
	bool is_greeted;	 /* by the broker of this conversation */
	bool was_greeted;	 /* by any: from then on the place is known */
	bool has_files;		 /* the sandbox is narrowed, the table may be read */
	bool is_reconciled;	 /* the table knows what the events build on */
	bool bundles_are_closed; /* to us, from the start */
	int exit_status;
	bool is_stopping;
};

/* Starts to serve with the supervisor on CONTROL and the first broker on BROKER; both become the
 * session's. ROOT is the directory below which the engine's paths are resolved, also taken over.
 * ARGUMENTS and SESSION must live until the loop has closed all handles.
 * Returns 0 or a negative errno. */
int engine_session_open(struct engine_session *session, uv_loop_t *loop,
	const struct engine_arguments *arguments, int root, int control, int broker,
	struct mayfly_error *err);

/* Ends the loop; uv_run() returns. */
void engine_session_stop(struct engine_session *session, int exit_status);

/* Closes every handle; run the loop once more, then call engine_session_done(). */
void engine_session_close(struct engine_session *session);
void engine_session_done(struct engine_session *session);

/* For the parts of a session: */

/* Tells the broker how the engine is. */
void engine_session_tell_state(struct engine_session *session);

/* Lets flow what may flow: events while there is room and the disk has been read, requests while
 * not too many wait. */
void engine_session_balance(struct engine_session *session);

/* Reads all containers and says which run; events wait meanwhile. Later, when the engine does not
 * answer or no broker has ever told the place. */
void engine_session_reconcile(struct engine_session *session);

/* Is the engine's directory still the one that the sandbox allows to read? */
bool engine_session_data_root_is_the_same(const struct engine_session *session);

/* It is not: only a new process can read it. The broker is told before, so that it greets the new
 * one with the right directory. */
void engine_session_leave(struct engine_session *session, const char *why);
