/* Versions that are stored before they count, and changes of several secrets at once: what a rotation
 * asks of the store. Threads, blocking and results as in store.h. */
#pragma once

#include "daemon/broker/store/store.h"

/* Stores a further version that nobody gets before store_activate(): durable, so that a value which
 * another system has been told of is not lost with us. VALUE NULL: the bytes of the previous version
 * again. At most one a secret (-EALREADY). *RET_OUTCOME is PUT_UNCHANGED for the current version's bytes
 * (nothing is prepared), else PUT_STAGED. */
int store_prepare(struct store *store, const struct secret_reference *reference,
	const struct secret *value, enum put_outcome *ret_outcome, uint32_t *ret_version,
	struct mayfly_error *err);
/* Destroys the prepared version again. -ENOENT when there is none. */
int store_discard(struct store *store, const struct secret_reference *reference,
	uint32_t *ret_version, struct mayfly_error *err);

struct store_change {
	struct secret_reference reference;
	uint32_t before; /* the version that was current */
	uint32_t after;	 /* the one that is */
};

/* Makes the prepared versions of COUNT different secrets current, in one transaction: all or none.
 * The version that was current is kept whatever the limit says: a roll back needs it. -ENOENT when one
 * has nothing prepared. */
int store_activate(
	struct store *store, struct store_change *changes, size_t count, struct mayfly_error *err);
/* The bytes of CHANGES[i].before become current again, as a further version AFTER, in one transaction.
 * -EALREADY when one of them has meanwhile another current version than AFTER said. */
int store_restore(
	struct store *store, struct store_change *changes, size_t count, struct mayfly_error *err);
