/* Writing a value through to the server: only what is new, or with STAGE a further version, and only
 * over what was there when we looked (check-and-set, with KV version 2). Loop thread only. */
#pragma once

#include "daemon/broker/vault/vault_backend.h"

struct vault_write {
	TAILQ_ENTRY(vault_write) entry;
	struct vault_reader reader;
	struct vault_login_waiter login;
	struct vault_exchange *exchange;
	struct vault_backend *backend;
	struct secret_selector target;
	const struct secret *value; /* borrowed until the end */
	bool stage;
	uint32_t version; /* that is there; 0: none */
	void *context;
	/* 0 with OUTCOME and VERSION; -EEXIST another value is there; -EACCES the token may not;
	 * -EAGAIN somebody else has changed it meanwhile; -EINVAL; -EILSEQ; -EHOSTDOWN; ... */
	void (*on_written)(void *context, int status, enum put_outcome outcome, uint32_t version,
		const struct mayfly_error *err);
};

/* WRITE is the caller's, with value, stage, context and on_written set. NAME is one of the set's,
 * without field and version. On_written is called once, never before this returns. Returns 0 or
 * -EINVAL. */
int vault_write_start(struct vault_write *write, struct vault_backend *backend, const char *name,
	struct mayfly_error *err);
