#include "daemon/broker/vault/vault_answer.h"

#include "include/mayfly/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH(...) ((const char *const[]){ __VA_ARGS__, NULL })

static enum vault_outcome outcome_of(long status)
{
	if (status >= 200 && status < 300)
		return VAULT_OK;
	switch (status) {
	case 307:
	case 308:
		return VAULT_REDIRECT;
	case 403:
		return VAULT_DENIED;
	case 404:
		return VAULT_NOT_FOUND;
	case 412: /* a node that is behind */
		return VAULT_UNAVAILABLE;
	case 429:
		return VAULT_BUSY;
	case 503:
		return VAULT_SEALED;
	default:
		return status >= 400 && status < 500 ? VAULT_REFUSED : VAULT_UNAVAILABLE;
	}
}

/* The first of {"errors": [...]}, fit to be shown. */
static void first_error(struct json_slice document, char *buffer, size_t size)
{
	struct json_slice errors, first;
	char text[512];

	buffer[0] = '\0';
	if (json_slice_member(document, "errors", &errors) && json_slice_item(errors, 0, &first) &&
		json_slice_text(first, text, sizeof text))
		(void)error_quote(buffer, size, text, strlen(text));
}

static void describe(struct vault_answer *answer, struct json_slice document)
{
	char said[128];

	if (answer->outcome == VAULT_OK)
		return;
	if (answer->outcome == VAULT_REDIRECT) {
		(void)snprintf(answer->text, sizeof answer->text, "it redirects elsewhere");
		return;
	}
	first_error(document, said, sizeof said);
	(void)snprintf(answer->text, sizeof answer->text, "HTTP %ld%s%s", answer->status,
		said[0] ? ": " : "", said);
}

void vault_answer_read(const struct https_answer *from, struct vault_answer *ret_answer)
{
	struct vault_answer answer = { .status = from->status,
		.error = from->error,
		.was_sent = from->was_sent,
		.retry_after_s = from->retry_after_s };
	struct json_slice document = { 0 };
	bool is_json;

	if (from->error < 0) {
		/* With a head but no whole body it was no answer at all. */
		answer.outcome =
			from->error == -EFBIG || from->status ? VAULT_NONSENSE : VAULT_UNAVAILABLE;
		(void)error_quote(answer.text, sizeof answer.text, from->why, strlen(from->why));
		*ret_answer = answer;
		return;
	}
	memcpy(answer.location, from->location, sizeof answer.location);
	answer.outcome = outcome_of(from->status);
	is_json = from->body_length > 0 &&
		  json_slice_check((const char *)from->body->bytes, from->body_length, &document) ==
			  0 &&
		  json_slice_kind(document) == JSON_SLICE_OBJECT;
	if (!is_json && (answer.outcome == VAULT_OK || answer.outcome == VAULT_NOT_FOUND) &&
		from->status != 204) {
		answer.outcome = VAULT_NONSENSE;
		(void)snprintf(answer.text, sizeof answer.text,
			"HTTP %ld with what is no answer of such a server", answer.status);
	} else {
		describe(&answer, document);
	}
	answer.document = document;
	*ret_answer = answer;
}

bool vault_outcome_is_transient(enum vault_outcome outcome)
{
	switch (outcome) {
	case VAULT_OK:
	case VAULT_NOT_FOUND:
	case VAULT_DENIED:
	case VAULT_REFUSED:
		return false;
	case VAULT_REDIRECT:
	case VAULT_BUSY:
	case VAULT_SEALED:
	case VAULT_UNAVAILABLE:
	case VAULT_NONSENSE:
	case VAULT_EXPIRED:
	case VAULT_INVALID:
		break;
	}
	return true;
}

static bool is_true(struct json_slice object, const char *key)
{
	struct json_slice value;

	return json_slice_member(object, key, &value) && json_slice_kind(value) == JSON_SLICE_TRUE;
}

static bool number(struct json_slice object, const char *key, uint32_t *ret_number)
{
	struct json_slice value;
	int64_t integer;

	if (!json_slice_member(object, key, &value) || !json_slice_integer(value, &integer) ||
		integer < 0 || integer > UINT32_MAX - 2)
		return false;
	*ret_number = (uint32_t)integer;
	return true;
}

bool vault_answer_auth(const struct vault_answer *answer, struct vault_auth_answer *ret_auth)
{
	struct vault_auth_answer found = { 0 };
	struct json_slice auth;

	if (answer->outcome != VAULT_OK || !json_slice_member(answer->document, "auth", &auth) ||
		!json_slice_member(auth, "client_token", &found.token) ||
		json_slice_decode(found.token, NULL) <= 0 ||
		!number(auth, "lease_duration", &found.lease_s))
		return false;
	found.is_renewable = is_true(auth, "renewable");
	*ret_auth = found;
	return true;
}

/* {"data": {"data": {...} | null, "metadata": {...}}} */
static bool read_kv2(struct json_slice document, struct vault_kv_answer *kv)
{
	struct json_slice metadata, deletion;

	if (!json_slice_path(document, PATH("data", "data"), &kv->map) ||
		!json_slice_path(document, PATH("data", "metadata"), &metadata) ||
		!number(metadata, "version", &kv->version))
		return false;
	kv->is_destroyed = is_true(metadata, "destroyed");
	/* A time in the future is only when it will be deleted. */
	kv->is_deleted = json_slice_kind(kv->map) == JSON_SLICE_NULL && !kv->is_destroyed &&
			 json_slice_member(metadata, "deletion_time", &deletion) &&
			 json_slice_decode(deletion, NULL) > 0;
	return kv->is_deleted || kv->is_destroyed || json_slice_kind(kv->map) == JSON_SLICE_OBJECT;
}

bool vault_answer_kv(
	const struct vault_answer *answer, unsigned kv_version, struct vault_kv_answer *ret_kv)
{
	struct vault_kv_answer kv = { 0 };
	bool is_fine;

	if (answer->outcome != VAULT_OK && answer->outcome != VAULT_NOT_FOUND)
		return false;
	if (kv_version == 2)
		is_fine = read_kv2(answer->document, &kv);
	else
		is_fine = answer->outcome == VAULT_OK &&
			  json_slice_member(answer->document, "data", &kv.map) &&
			  json_slice_kind(kv.map) == JSON_SLICE_OBJECT;
	/* A version that is gone comes with 404, one that is there with 200. */
	if (!is_fine || (answer->outcome == VAULT_OK) != (!kv.is_deleted && !kv.is_destroyed))
		return false;
	*ret_kv = kv;
	return true;
}

unsigned vault_answer_kv_version(const struct vault_answer *answer)
{
	struct json_slice kind, version;
	char text[16];

	if (answer->outcome != VAULT_OK ||
		!json_slice_path(answer->document, PATH("data", "type"), &kind) ||
		!json_slice_text(kind, text, sizeof text) ||
		(strcmp(text, "kv") != 0 && strcmp(text, "generic") != 0))
		return 0;
	if (json_slice_path(answer->document, PATH("data", "options", "version"), &version) &&
		json_slice_text(version, text, sizeof text) && strcmp(text, "2") == 0)
		return 2;
	return 1;
}

bool vault_answer_current_version(const struct vault_answer *answer, uint32_t *ret_version)
{
	struct json_slice data;

	return answer->outcome == VAULT_OK && json_slice_member(answer->document, "data", &data) &&
	       number(data, "current_version", ret_version);
}

static int copy_json(struct json_slice value, struct arena *arena, struct secret *ret_value,
	struct mayfly_error *err)
{
	const bool is_text = json_slice_kind(value) == JSON_SLICE_STRING;
	const size_t length = is_text ? (size_t)json_slice_decode(value, NULL) : value.length;
	int r;

	if (length > MAYFLY_VALUE_MAX_BYTES)
		return error_set(err, -EFBIG, "it has %zu bytes, the limit is %d", length,
			MAYFLY_VALUE_MAX_BYTES);
	r = secret_new(arena, length, ret_value, err);
	if (r < 0)
		return r;
	if (is_text)
		(void)json_slice_decode(value, (char *)ret_value->bytes);
	else
		memcpy(ret_value->bytes, value.text, length);
	return 0;
}

int vault_pick(struct json_slice map, const char *field, const char *value_field,
	struct arena *arena, struct secret *ret_value, struct mayfly_error *err)
{
	struct json_slice value = map;

	if (field[0] && !json_slice_member(map, field, &value))
		return error_set(err, -ENOENT, "it has no field '%s'", field);
	if (!field[0] && json_slice_count(map) == 1)
		/* Stays the map if it is another. */
		(void)json_slice_member(map, value_field, &value);
	if (json_slice_kind(value) == JSON_SLICE_NULL ||
		(json_slice_kind(value) == JSON_SLICE_STRING &&
			json_slice_decode(value, NULL) == 0))
		return error_set(err, -EINVAL, "nothing stands in %s%s",
			field[0] ? "its field " : "it", field);
	return copy_json(value, arena, ret_value, err);
}
