/* What a login shows to the server: read from files, unwrapped if need be. Every login reads the
 * files again, so a new secret_id or JWT takes effect by being written there.
 *
 * A wrapped secret_id can be unwrapped once. Ours is kept in the store, sealed, under a name made
 * from the wrapping token: a restart does not take it for stolen. A wrapping token that the server
 * no longer knows, and that we have not used, was used by somebody else: an alarm, and nothing is
 * tried until another one is written into the file. */
#pragma once

#include "daemon/broker/loop/work_queue.h"
#include "daemon/broker/store/store.h"
#include "daemon/broker/vault/vault_link.h"

/* The store's set for what is ours and not a user's: no set that a configuration can name. */
#define VAULT_OWN_SET "@vault"

#define CREDENTIALS_NAME_SIZE 64

struct vault_credentials {
	struct work_item work;
	struct vault_link *link;
	struct store *store;
	const char *set;
	struct handle_group *group; /* held while WORK is under way */
	unsigned *jobs;		    /* counted meanwhile; set by the caller */
	struct vault_exchange *exchange;
	struct secret role_id, secret; /* secret: secret_id, wrapping token, token or JWT */
	bool needs_unwrapping, keeps_unwrapped, is_closed, is_under_way;
	char name[CREDENTIALS_NAME_SIZE];  /* of what is kept in the store */
	char spent[CREDENTIALS_NAME_SIZE]; /* a wrapping token that is of no use any more */
	char spent_text[512];
	int status;
	struct mayfly_error err;
	void *context;
	/* STATUS 0 with the body of the login, or the token itself with method `token`; else a
	 * negative errno: -EAGAIN when no server answered. */
	void (*on_ready)(
		void *context, int status, struct secret *secret, const struct mayfly_error *err);
	/* Somebody must look at this. */
	void (*on_alarm)(void *context, const char *text);
};

/* A member of an operation; callbacks and context are set by the caller. SET and STORE outlive it. */
void vault_credentials_init(struct vault_credentials *credentials, struct vault_link *link,
	struct store *store, const char *set, struct handle_group *group);

/* On_ready is called once, never before this returns. Not while one is under way. Returns 0 or a
 * negative errno. */
int vault_credentials_get(struct vault_credentials *credentials, struct mayfly_error *err);

/* No call follows. */
void vault_credentials_close(struct vault_credentials *credentials);
