/* mayflyd: starts the three kinds of children, watches them, starts them again, cleans up.
 * Root and one thread. Parses nothing: the configuration is read for it by `mayfly-broker --plan`,
 * a child that has dropped everything; the rest are fixed-size records.
 *
 * Glossary
 *   child    a process of ours; dead ones are started again, at once at first, then at growing intervals
 *   link     the socket pair between the broker and one other child; renewed when either is started
 *   group    a fanotify group; held here too, so that opens wait instead of being allowed when the
 *            broker dies */
#pragma once

#include "proto/error.h"
#include "proto/supervisor_protocol.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum child_kind { CHILD_BROKER = 0, CHILD_MOUNTER, CHILD_ENGINE };

#define CHILDREN_MAX (2 + MAYFLY_ENGINES_MAX)

struct child {
	enum child_kind kind;
	uint32_t index; /* of an engine */
	pid_t pid;	/* 0: not running */
	int control;	/* our end, -1 when not running */
	int broker_end; /* of its link, held for a broker that is to be started (not for the broker
			   itself) */
	int own_end;	/* of its link, held for this child */
	bool was_ready;
	unsigned failures; /* in a row */
	int64_t started_ms;
	int64_t heartbeat_ms;
	int64_t start_at_ms; /* when it is to be started again */
};

struct listening_socket {
	int fd;
	bool is_ours; /* bound here, so removed here; false: the service manager's */
};

struct supervisor {
	char root[PATH_MAX];		  /* "" or an absolute path without symbolic links */
	char program_directory[PATH_MAX]; /* where this program lies: its children lie there too */
	struct launch_plan plan;
	struct child children[CHILDREN_MAX]; /* broker, mounter, engines */
	size_t children_count;
	int state_lock; /* one mayflyd for one store */
	int volumes;
	int host_key; /* -1: there is none */
	int arena;    /* the mounters' mount namespace, -1 until the first one has made it */
	struct listening_socket operator_socket;
	struct listening_socket container_socket;
	struct listening_socket plugin_sockets[MAYFLY_ENGINES_MAX];
	int groups[GUARD_GROUPS_MAX + 1]; /* the last is the shared one */
	uint32_t groups_count;
	unsigned denied; /* opens, by the sweeps since the last broker was started */
	bool is_stopping;
};
