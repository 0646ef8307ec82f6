/* What an answer of a Vault or OpenBao server means. Pure: bytes in, words and slices of the same
 * bytes out. Never decides by the text of an error: the words differ from version to version, and a
 * 403 is the answer for a token that is missing, unknown or expired, for a path that is denied, and
 * for one that nothing is mounted at. */
#pragma once

#include "daemon/broker/https/https_client.h"
#include "daemon/broker/https/json_slice.h"
#include "proto/secret.h"

#include <stdint.h>

enum vault_outcome {
	VAULT_INVALID = 0,
	VAULT_OK,
	VAULT_NOT_FOUND, /* 404: nothing of that name, or a version that is gone (document) */
	VAULT_DENIED,	 /* 403 */
	VAULT_REFUSED,	 /* another 4xx: asking again gives the same */
	VAULT_REDIRECT,	 /* 307, 308: see location */
	VAULT_BUSY,	 /* 429: a quota */
	VAULT_SEALED,	 /* 503: sealed, or no active node */
	VAULT_UNAVAILABLE, /* 5xx, no connection, no answer in time, a certificate that is not believed */
	VAULT_NONSENSE, /* what no such server says: half an answer, no JSON, too deep, too large */
	VAULT_EXPIRED,	/* of ours: the time for it was over before it could be asked */
};

struct vault_answer {
	enum vault_outcome outcome;
	long status;		    /* of HTTP; 0: none came */
	int error;		    /* of the transport: a negative errno or 0 */
	bool was_sent;		    /* the server may have done what was asked */
	uint32_t retry_after_s;	    /* of VAULT_BUSY; 0: not said */
	struct json_slice document; /* of VAULT_OK and VAULT_NOT_FOUND; empty for 204 */
	char text[256];		    /* what went wrong; "" when nothing did */
	char location[HTTPS_LOCATION_SIZE];
};

/* RET_ANSWER's document points into the body of ANSWER. */
void vault_answer_read(const struct https_answer *answer, struct vault_answer *ret_answer);

/* Whether another server, or the same one later, may answer better. */
bool vault_outcome_is_transient(enum vault_outcome outcome);

/* ---- What particular answers hold. ---- */

struct vault_auth_answer {
	struct json_slice token; /* a string */
	uint32_t lease_s;	 /* 0: it does not expire */
	bool is_renewable;
};

/* Of a login or a renewal. False when it is none. */
bool vault_answer_auth(const struct vault_answer *answer, struct vault_auth_answer *ret_auth);

struct vault_kv_answer {
	struct json_slice map; /* an object: fields and their values */
	uint32_t version;      /* 0 of KV version 1, which has none */
	bool is_deleted, is_destroyed;
};

/* Of a read of KV version KV_VERSION: VAULT_OK, or VAULT_NOT_FOUND with the version that is gone. */
bool vault_answer_kv(
	const struct vault_answer *answer, unsigned kv_version, struct vault_kv_answer *ret_kv);

/* Of sys/internal/ui/mounts: 1 or 2; 0 when it is no KV engine. */
unsigned vault_answer_kv_version(const struct vault_answer *answer);

/* Of KV version 2's metadata. */
bool vault_answer_current_version(const struct vault_answer *answer, uint32_t *ret_version);

/* ---- What a file gets of a secret. ---- */

/* The field FIELD of MAP: a string's bytes, anything else as JSON. With FIELD "": the one field
 * VALUE_FIELD where there is no other, else all of MAP as JSON. *RET_VALUE is the caller's. -ENOENT
 * there is no such field; -EINVAL it is empty or null; -EFBIG. Any thread. */
int vault_pick(struct json_slice map, const char *field, const char *value_field,
	struct arena *arena, struct secret *ret_value, struct mayfly_error *err);
