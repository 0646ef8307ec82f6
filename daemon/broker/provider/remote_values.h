/* What one fetch needs from servers. A thread finds out what that is, the loop asks for it, the
 * thread goes on: never both at once. Nothing is asked for that an earlier set of the search has.
 *
 *	thread	remote_values_get()	-EINPROGRESS: not known, so it is wanted now
 *	loop	remote_values_read()	asks for all that is wanted; then the thread once more */
#pragma once

#include "daemon/broker/vault/vault_sets.h"

struct remote_value;

struct remote_values {
	struct vault_sets *vaults;
	struct remote_value *first;
	size_t reading;
	uint64_t ends_ms; /* of uv_now(); 0: nothing was asked yet */
	void *context;
	void (*on_known)(void *context);
};

/* Thread. The value of NAME ("db#password") in SET, or with PREVIOUS the one before. *RET_VALUE is
 * the caller's. 0; -EINPROGRESS; -ENOENT SET has none; -ESTALE there is no earlier one; another
 * negative errno with ERR. */
int remote_values_get(struct remote_values *values, const char *set, const char *name,
	bool previous, struct secret *ret_value, uint32_t *ret_version, struct mayfly_error *err);

/* Loop. True when something was wanted. With values->reading above 0 ON_KNOWN is called once, never
 * before this returns, within LIMIT_MS of the first call for these values; else all is known at once.
 */
bool remote_values_read(struct remote_values *values, uint32_t limit_ms);

/* How many of the values come from the cache, for the record. */
size_t remote_values_stale(const struct remote_values *values);

/* Where they come from, for `explain`: "https://vault:8200: kv/shop/db version 2, ..."; "" when there
 * are none. */
void remote_values_describe(const struct remote_values *values, char *buffer, size_t size);

/* Loop. No call follows; the empty value is fine and is what it leaves behind. */
void remote_values_done(struct remote_values *values);
