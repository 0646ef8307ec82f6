/* Credentials that a server makes for one holder and takes back: database users and the like. Each
 * is durable in state.db before it is given to anybody, so that it is revoked even after we were
 * killed. Its row goes when the server has taken it back. Loop thread only.
 *
 * A lease ends with the token that it was made with: one that is taken up after a restart, or that
 * outlives a login, is replaced like one at its maximum; a token that has leases is not given back at
 * a clean stop, or running containers would lose what they hold.
 *
 * Life of a lease: vault_lease_acquire() -> on_lease(VALUE) -> renewed at two thirds of its life
 * -> on_ending() when the server renews it no further: the holder acquires the next one, delivers it
 * and releases this one -> vault_lease_release(): revoked, tried again with pauses until it would
 * have ended by itself. */
#pragma once

#include "daemon/broker/store/state_db.h"
#include "daemon/broker/vault/vault_backend.h"

#define VAULT_LEASE_ID_SIZE 320
#define VAULT_HOLDER_SIZE   80

struct vault_lease;

struct vault_leases {
	uv_loop_t *loop;
	struct state_db *state;
	struct vault_sets *sets;
	TAILQ_HEAD(, vault_lease) leases; /* held, being made, and being given back */
	struct serial_queue savings;	  /* rows, in order */
	void *context;
	/* The next one is needed before the end of LEASE. */
	void (*on_ending)(void *context, struct vault_lease *lease);
};

/* The members but the list and the queue are set by the caller before. */
void vault_leases_init(struct vault_leases *leases);

/* Rows of before this process: whose holder IS_HELD says is gone are given back, the others are
 * taken up (ON_ADOPTED tells each) and are to be replaced (on_ending). Blocks on one read of state.db: at the start. */
int vault_leases_recover(struct vault_leases *leases,
	bool (*is_held)(void *context, const char *holder),
	void (*on_adopted)(void *context, struct vault_lease *lease), struct mayfly_error *err);

/* Makes credentials at PATH ("database/creds/ro") of SET for HOLDER (a mount id). ON_LEASE is called
 * once, never before this returns: 0 with the map of fields (ref it to keep it), or a negative errno
 * with ERR; LEASE is gone then. A request whose answer was lost is not sent again: what it may have
 * made ends by itself. */
int vault_lease_acquire(struct vault_leases *leases, const char *set, const char *path,
	const char *holder, void *context,
	void (*on_lease)(void *context, struct vault_lease *lease, int status,
		struct vault_value *value, const struct mayfly_error *err),
	struct vault_lease **ret_lease, struct mayfly_error *err);

const char *vault_lease_holder(const struct vault_lease *lease);

/* No call follows. It is given back in the background. */
void vault_lease_release(struct vault_lease *lease);

/* How many are not given back yet, for `mayfly status`. */
size_t vault_leases_pending(const struct vault_leases *leases);

/* For the end of the process: rows stay, so the next one goes on. */
void vault_leases_close(struct vault_leases *leases);
