/* Everything that a request can reach. One for the process; made by broker_start(), owned by main.
 * Loop thread only, but for what says otherwise (store, state_db, arena). */
#pragma once

#include "daemon/broker/audit/audit_queue.h"
#include "daemon/broker/config/config.h"
#include "daemon/broker/identity/engine_link.h"
#include "daemon/broker/lease/lease.h"
#include "daemon/broker/policy/policy.h"
#include "daemon/broker/rotation/rotation.h"
#include "daemon/broker/store/state_db.h"
#include "daemon/broker/store/store.h"
#include "daemon/broker/vault/vault_sets.h"
#include "proto/error.h"
#include "proto/secret.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct mount_request;
TAILQ_HEAD(mount_requests, mount_request);
struct container_request;
TAILQ_HEAD(container_requests, container_request);
struct attestation;
TAILQ_HEAD(attestations, attestation);

/* One configured engine, as this process was born with it. */
struct broker_engine {
	struct broker *broker;
	unsigned index;
	char *name;
	int plugin_socket; /* listening */
	bool was_synchronised;
	/* of engine_process.c: does mayfly-engine look at files from where the engine does? */
	bool root_is_known, root_is_asked, root_is_outdated;
};

struct broker {
	uv_loop_t *loop;
	struct handle_group handles; /* of what this struct has itself */
	void (*on_handles_empty)(struct handle_group *handles);
	struct deadline waking;
	char *root; /* "" or the directory below which everything of ours is */
	struct config *config;
	struct config *born;  /* what this process was started with; NULL: it could not be read */
	uint64_t files_epoch; /* counts what was read of configuration and policy */
	struct arena *arena;
	struct store *store;
	struct state_db *state;
	struct audit *audit;
	struct value_keeper keeper;
	struct vault_sets vaults;
	struct lease_context leases; /* with policy, audit queue, mounter, guard */
	struct rotations rotations;
	struct broker_engine engines[MAYFLY_ENGINES_MAX];
	size_t engines_count;
	struct mount_requests waiting;		      /* for unlocking, an engine, a free group */
	struct container_requests waiting_containers; /* for unlocking, a secret, a grant */
	struct attestations strangers;		      /* wait for their container to be told of */
	bool is_adopted; /* what was left by processes before us has been taken up */
	bool is_stopping;
	bool is_in_upkeep;
	size_t jobs;  /* calls of operators under way */
	int host_key; /* descriptor, or -1 */
	char locked_since[32];
	json_t *refused_while_locked; /* {id: name} of containers */
	unsigned strangers_refused;   /* callers from containers */
	uint64_t stranger_told_ms;
	json_t *problems; /* {what it is about: a sentence} for `mayfly status` */
	/* the supervisor's answer to a wish for a host key */
	void (*on_host_key)(void *data, int status);
	void *on_host_key_data;
	int control;
};

/* Makes what broker_wake() needs; loop and on_handles_empty are set. */
void broker_init_waking(struct broker *broker);

/* What waited for something may go on: an unlocked store, a connected engine, a free group, an ended
 * lease, another policy, a further secret. */
void broker_wake(struct broker *broker);

/* Configuration and policy as they are read: whole, before anything of them is used. */
struct broker_files {
	struct config *config;
	struct policy *policy;
	struct complaints complaints, notes;
};

/* Reads the configuration, and the policy from disk or, with COUNT > 0, from TEXTS. Any thread;
 * blocks on files. Returns 0; -EINVAL with complaints; another negative errno with ERR. *FILES is
 * the caller's either way. */
int broker_files_read(const char *root, const struct policy_text *texts, size_t count,
	struct broker_files *files, struct mayfly_error *err);
void broker_files_done(struct broker_files *files);
/* Completes what broker_files_read() could not use: an empty policy, which grants nothing, and an
 * empty configuration unless FILES has one. */
int broker_files_complete(struct broker_files *files, struct mayfly_error *err);

/* Puts FILES (taken over) into force. RESTART_NEEDED (NULL: nobody asks) gets the names of keys
 * that have changed since this process was born and that only a restart of mayflyd does. */
void broker_files_apply(struct broker *broker, struct broker_files *files, json_t *restart_needed);

/* Sets of provider `vault`: made once store and leases are there, and as each new configuration has
 * them. */
void broker_vaults_init(struct broker *broker, bool may_connect);
void broker_vaults_apply(struct broker *broker);

/* TEXT stands in `mayfly status` and `doctor` as what is wrong with WHAT; NULL: it is right again.
 */
void broker_problem(struct broker *broker, const char *what, const char *text);

/* Asks the supervisor for the host key file, made if it is not there. ON_HOST_KEY is called from
 * the loop. */
void broker_want_host_key(
	struct broker *broker, void (*on_host_key)(void *data, int status), void *data);

/* The sets' names as policy_parse() wants them, in an array that the caller frees (not the names).
 */
const char **broker_set_names(const struct config *config, size_t *ret_count);

/* Appends an audit record of an operator's action: who, what, how it ended. Takes RECORD over. */
void broker_audit(struct broker *broker, json_t *record);

/* True when the caller at one of our sockets (WHICH, the connection SOCKET) is a process of the
 * host. A refusal is recorded, not each of many. */
bool broker_caller_is_of_host(struct broker *broker, int socket, const char *which);

/* Seconds since the machine has started. */
uint64_t seconds_since_boot(void);
/* RFC 3339 UTC. */
void time_text(char text[32], int64_t unix_s);

/* The names of the containers that were refused while it was locked; the caller's. */
json_t *broker_refused_names(const struct broker *broker);

/* "locked since boot 03:12; run `mayfly unlock`": what a refusal of a locked store says. */
void broker_locked_text(const struct broker *broker, char *text, size_t size);

/* Remembers VALUE as the fact "engine.ENGINE.WHAT", in the background. */
void broker_remember(
	struct broker *broker, const char *engine, const char *what, const char *value);

/* Remembers which process ENGINE is, for the time after our next start. */
void broker_note_engine_process(
	struct broker *broker, const struct broker_engine *engine, pid_t pid);
