/* The broker's end of one mayfly-engine (PROTOCOL.md). Everything that comes is taken for hostile:
 * a frame that breaks the rules ends the connection, the supervisor's next mayfly-engine begins
 * anew. Loop thread only. */
#pragma once

#include "daemon/broker/identity/container_facts.h"
#include "daemon/broker/loop/handle_group.h"
#include "proto/error.h"

#include <stdbool.h>

struct engine_link;

enum engine_state {
	ENGINE_ABSENT = 0, /* no mayfly-engine, or it has not spoken yet */
	ENGINE_WAITING,	   /* mayfly-engine is there and waits for its engine */
	ENGINE_CONNECTED,
};

/* What an engine said of itself. Strings are owned by the link and valid until the next change; ""
 * when not known. */
struct engine_status {
	enum engine_state state;
	const char *detail;
	const char *version;
	const char *data_root;
	const char *storage_driver;
	int cgroup_version; /* 0: not known */
};

enum engine_event {
	ENGINE_EVENT_INVALID = 0,
	ENGINE_CREATE,
	ENGINE_START,
	ENGINE_DIE,
	ENGINE_DESTROY,
	ENGINE_HEALTHY, /* what its health check says has become that */
	ENGINE_UNHEALTHY
};

struct engine_callbacks {
	/* PID is of the init of a container that has started (of every one; 0: it has ended again),
	 * else 0. FACTS are borrowed, NULL where the message has none: not of our driver. BY_BUNDLE: the
	 * engine does not answer, its runtime says so. */
	void (*on_event)(void *data, enum engine_event event, const char *id, pid_t pid,
		bool by_bundle, const struct container_facts *facts);
	/* Container ID is about to be started with our host path MOUNT_ID, as UID and GID (inside).
	 */
	void (*on_bundle)(
		void *data, const char *id, const char *mount_id, uint32_t uid, uint32_t gid);
	/* A container that runs: after every (re)connect, for all of them, before on_synchronised.
	 * FACTS NULL: not of our driver. */
	void (*on_running)(
		void *data, const char *id, pid_t pid, const struct container_facts *facts);
	/* What came before is the whole of it; also told when the engine went away (then nothing is
	 * known any more). */
	void (*on_state)(void *data, const struct engine_status *status);
	void (*on_synchronised)(void *data);
	void *data;
};

/* So long the end of a container that is restarted is waited for at most. */
#define ENGINE_RESTART_TIMEOUT_MAX_S 3600

/* One question and its answers. ON_FACTS for each (FACTS borrowed; NULL with ID: that container
 * cannot be judged, WHY says why), then ON_DONE once: STATUS 0, -ECONNRESET or -EIO. A member of
 * the caller's struct. */
struct engine_question {
	void (*on_facts)(struct engine_question *question, const struct container_facts *facts,
		const char *id, const char *why);
	void (*on_done)(struct engine_question *question, int status, const char *why);
	/* of the link */
	bool is_single;	 /* one answer, without an end of its own */
	bool is_restart; /* no answer, only an end */
	uint64_t serial;
	struct engine_question *next;
};

int engine_link_new(uv_loop_t *loop, const char *name, const struct engine_callbacks *callbacks,
	struct engine_link **ret_link, struct mayfly_error *err);

/* A new mayfly-engine's end, which the link takes over. DATA_ROOT: what is remembered of the
 * engine, NULL for nothing. */
int engine_link_replace(
	struct engine_link *link, int fd, const char *data_root, struct mayfly_error *err);

/* Who can be mounting VOLUME right now? */
int engine_link_candidates(
	struct engine_link *link, const char *volume, struct engine_question *question);
/* The container with the full id ID; or, NULL, every one of our driver. */
int engine_link_containers(
	struct engine_link *link, const char *id, struct engine_question *question);
/* The engine restarts the running or stopped container with the full id ID, which gets TIMEOUT_S to
 * end by itself; the caller has decided that it may. mayfly-engine has some restarts under way at a
 * time, each for TIMEOUT_S + 30 s at most; the others wait for their turn. QUESTION has an
 * on_done() only: 0: it has been restarted; -EIO: not, WHY in the engine's words; or nobody knows
 * (time was up, or it is -ECONNRESET): it may be yet. Returns 0; -EINVAL for what is no id or more
 * than ENGINE_RESTART_TIMEOUT_MAX_S; -ECONNRESET without a mayfly-engine; -ENOMEM. */
int engine_link_restart(struct engine_link *link, const char *id, unsigned timeout_s,
	struct engine_question *question);
/* QUESTION's callbacks are not called any more. */
void engine_link_forget(struct engine_link *link, struct engine_question *question);

/* The root directory of the engine's mount namespace; FD is taken over. */
int engine_link_send_root(struct engine_link *link, int fd);

const struct engine_status *engine_link_status(const struct engine_link *link);
const char *engine_link_name(const struct engine_link *link);

void engine_link_close(struct engine_link *link);
