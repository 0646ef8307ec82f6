#include "daemon/broker/vault/vault_credentials.h"

#include "daemon/broker/vault/vault_body.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNWRAP_TIMEOUT_MS 10000
#define PATH(...)	  ((const char *const[]){ __VA_ARGS__, NULL })

static void forget(struct vault_credentials *credentials)
{
	secret_done(&credentials->role_id);
	secret_done(&credentials->secret);
}

static void ready(struct vault_credentials *credentials, int status, struct secret *secret)
{
	struct secret none = { 0 };

	credentials->is_under_way = false;
	forget(credentials);
	credentials->on_ready(
		credentials->context, status, secret ? secret : &none, &credentials->err);
}

static void fail(struct vault_credentials *credentials, int status, const char *text)
{
	(void)error_set(&credentials->err, status, "%s", text);
	ready(credentials, status, NULL);
}

/* Nothing more with this wrapping token. */
static void spend(struct vault_credentials *credentials, bool is_alarm, const char *text)
{
	memcpy(credentials->spent, credentials->name, sizeof credentials->spent);
	(void)snprintf(credentials->spent_text, sizeof credentials->spent_text, "%s", text);
	if (is_alarm)
		credentials->on_alarm(credentials->context, text);
	fail(credentials, -EACCES, text);
}

/* ---- The login's body. ---- */

static struct vault_field field(const char *key, const struct secret *secret)
{
	return (struct vault_field){
		.key = key, .bytes = (const char *)secret->bytes, .length = secret->length
	};
}

static void make_body(struct vault_credentials *credentials)
{
	const struct config_vault *config = credentials->link->config;
	const struct vault_field role = { .key = config->auth == VAULT_AUTH_JWT ? "role" : "name",
		.bytes = config->role,
		.length = config->role ? strlen(config->role) : 0 };
	struct arena *arena = credentials->link->arena;
	AUTO_SECRET body = { 0 };
	struct vault_field fields[2];
	size_t count = 0;
	int r;

	if (config->auth == VAULT_AUTH_TOKEN) {
		body = secret_take(&credentials->secret);
		ready(credentials, 0, &body);
		return;
	}
	if (config->auth == VAULT_AUTH_APPROLE) {
		fields[count++] = field("role_id", &credentials->role_id);
		fields[count++] = field("secret_id", &credentials->secret);
	} else {
		if (config->role)
			fields[count++] = role;
		if (config->auth == VAULT_AUTH_JWT)
			fields[count++] = field("jwt", &credentials->secret);
	}
	r = vault_body_make(arena, fields, count, &body, &credentials->err);
	ready(credentials, r, &body);
}

/* ---- Unwrapping. ---- */

static void on_kept(struct work_item *work, bool is_abandoned)
{
	struct vault_credentials *credentials = container_of(work, struct vault_credentials, work);
	struct handle_group *group = credentials->group;

	--*credentials->jobs;
	/* What could not be kept is of use until our end all the same. */
	if (!is_abandoned && !credentials->is_closed)
		make_body(credentials);
	else
		forget(credentials);
	handle_group_release(group);
}

static void reference_of(
	const struct vault_credentials *credentials, struct secret_reference *reference)
{
	(void)snprintf(reference->set, sizeof reference->set, VAULT_OWN_SET);
	(void)snprintf(reference->name, sizeof reference->name, "%s", credentials->name);
}

static void keep(struct work_item *work)
{
	struct vault_credentials *credentials = container_of(work, struct vault_credentials, work);
	struct secret_reference reference = { 0 };
	enum put_outcome outcome;
	uint32_t version;

	reference_of(credentials, &reference);
	credentials->keeps_unwrapped =
		store_put(credentials->store, &reference, &credentials->secret, false, &outcome,
			&version, &credentials->err) == 0;
}

static int run_item(struct vault_credentials *credentials, void (*run)(struct work_item *),
	void (*on_done)(struct work_item *, bool), struct mayfly_error *err)
{
	int r;

	credentials->work.run = run;
	credentials->work.on_done = on_done;
	handle_group_hold(credentials->group);
	++*credentials->jobs;
	r = work_queue_start(credentials->link->loop, &credentials->work, err);
	if (r < 0) {
		--*credentials->jobs;
		handle_group_release(credentials->group);
	}
	return r;
}

static bool take_secret_id(struct vault_credentials *credentials, const struct vault_answer *answer)
{
	AUTO_SECRET found = { 0 };
	struct json_slice text;
	ssize_t length;

	if (!json_slice_path(answer->document, PATH("data", "secret_id"), &text))
		return false;
	length = json_slice_decode(text, NULL);
	if (length <= 0 || secret_new(credentials->link->arena, (size_t)length, &found, NULL) < 0)
		return false;
	(void)json_slice_decode(text, (char *)found.bytes);
	secret_done(&credentials->secret);
	credentials->secret = secret_take(&found);
	return true;
}

static void on_unwrapped(void *context, const struct vault_answer *answer)
{
	struct vault_credentials *credentials = context;
	char text[512];

	credentials->exchange = NULL;
	if (answer->outcome == VAULT_OK && take_secret_id(credentials, answer)) {
		if (run_item(credentials, keep, on_kept, &credentials->err) < 0)
			make_body(credentials);
		return;
	}
	if (answer->outcome == VAULT_REFUSED || answer->outcome == VAULT_DENIED) {
		(void)snprintf(text, sizeof text,
			"set %s: the wrapping token in '%s' was used by somebody else a moment "
			"ago: "
			"whoever did has the secret_id; destroy it and write another one there",
			credentials->set, credentials->link->config->secret_id_file);
		spend(credentials, true, text);
		return;
	}
	if (!answer->was_sent) {
		fail(credentials, -EAGAIN, answer->text);
		return;
	}
	(void)snprintf(text, sizeof text,
		"set %s: the answer with the unwrapped secret_id was lost on its way (%s): it can "
		"be "
		"had no second time; write another wrapping token into '%s'",
		credentials->set, answer->text, credentials->link->config->secret_id_file);
	spend(credentials, false, text);
}

static void unwrap(struct vault_credentials *credentials)
{
	struct vault_token *token = calloc(1, sizeof *token);
	AUTO_SECRET body = { 0 };
	struct vault_request request = { .method = "POST",
		.path = "sys/wrapping/unwrap",
		.token = token,
		.body = &body,
		.timeout_ms = UNWRAP_TIMEOUT_MS,
		.is_once = true,
		.context = credentials,
		.on_answer = on_unwrapped };
	int r = token ? vault_body_make(credentials->link->arena, NULL, 0, &body, &credentials->err)
		      : -ENOMEM;

	if (token)
		token->refs = 1;
	/* Only as the request's own token: in the body too it would count as used twice. */
	if (r == 0) {
		token->secret = secret_take(&credentials->secret);
		r = vault_link_send(credentials->link, &request, &credentials->exchange);
	}
	vault_token_unref(token);
	if (r < 0)
		fail(credentials, r, "there is no memory to log in");
}

/* Whether PATH is where secret_ids of our mount are made: another one was put into the file's place
 * by somebody who can wrap, but not make a secret_id. */
static bool is_of_mount(const struct config_vault *config, const char *path)
{
	char begin[300];
	const size_t length = strlen(path);
	const char end[] = "/secret-id";

	(void)snprintf(begin, sizeof begin, "auth/%s/role/", config->auth_mount);
	return strncmp(path, begin, strlen(begin)) == 0 && length > sizeof end &&
	       strcmp(path + length - (sizeof end - 1), end) == 0;
}

static void on_looked_up(void *context, const struct vault_answer *answer)
{
	struct vault_credentials *credentials = context;
	const char *file = credentials->link->config->secret_id_file;
	char path[256] = "", text[512];
	struct json_slice slice;

	credentials->exchange = NULL;
	if (vault_outcome_is_transient(answer->outcome)) {
		fail(credentials, -EAGAIN, answer->text);
		return;
	}
	if (answer->outcome != VAULT_OK) {
		(void)snprintf(text, sizeof text,
			"set %s: the wrapping token in '%s' has been used by somebody else, or is "
			"too old: if it is not older than its life, somebody else has the "
			"secret_id; "
			"destroy it and write another one there",
			credentials->set, file);
		spend(credentials, true, text);
		return;
	}
	if (!json_slice_path(answer->document, PATH("data", "creation_path"), &slice) ||
		!json_slice_text(slice, path, sizeof path) ||
		!is_of_mount(credentials->link->config, path)) {
		(void)snprintf(text, sizeof text,
			"set %s: the token in '%s' wraps no secret_id of auth/%s: somebody has put "
			"it there in its place",
			credentials->set, file, credentials->link->config->auth_mount);
		spend(credentials, true, text);
		return;
	}
	unwrap(credentials);
}

static void look_up(struct vault_credentials *credentials)
{
	const struct vault_field token = field("token", &credentials->secret);
	AUTO_SECRET body = { 0 };
	struct vault_request request = { .method = "POST",
		.path = "sys/wrapping/lookup",
		.body = &body,
		.timeout_ms = UNWRAP_TIMEOUT_MS,
		.context = credentials,
		.on_answer = on_looked_up };
	int r = vault_body_make(credentials->link->arena, &token, 1, &body, &credentials->err);

	if (r == 0)
		r = vault_link_send(credentials->link, &request, &credentials->exchange);
	if (r < 0)
		fail(credentials, r, "there is no memory to log in");
}

/* ---- Files, on the work queue. ---- */

static void name_it(struct vault_credentials *credentials)
{
	unsigned char hash[16];
	crypto_generichash_state state;
	char hex[2 * sizeof hash + 1];

	(void)crypto_generichash_init(&state, NULL, 0, sizeof hash);
	(void)crypto_generichash_update(
		&state, (const unsigned char *)credentials->set, strlen(credentials->set) + 1);
	(void)crypto_generichash_update(
		&state, credentials->secret.bytes, credentials->secret.length);
	(void)crypto_generichash_final(&state, hash, sizeof hash);
	sodium_memzero(&state, sizeof state);
	(void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
	(void)snprintf(credentials->name, sizeof credentials->name, "unwrapped/%s", hex);
}

/* Have we unwrapped it before? */
static int find_unwrapped(struct vault_credentials *credentials)
{
	struct secret_reference reference = { 0 };
	AUTO_SECRET kept = { 0 };
	int r;

	name_it(credentials);
	reference_of(credentials, &reference);
	r = store_get(
		credentials->store, &reference, VERSION_CURRENT, &kept, NULL, &credentials->err);
	credentials->needs_unwrapping = r == -ENOENT;
	if (r == 0) {
		secret_done(&credentials->secret);
		credentials->secret = secret_take(&kept);
	}
	return r == -ENOENT ? 0 : r;
}

static void read_files(struct work_item *work)
{
	struct vault_credentials *credentials = container_of(work, struct vault_credentials, work);
	const struct config_vault *config = credentials->link->config;
	struct arena *arena = credentials->link->arena;
	const char *file = config->auth == VAULT_AUTH_APPROLE ? config->secret_id_file
			   : config->auth == VAULT_AUTH_TOKEN ? config->token_file
							      : config->jwt_file;
	int r = 0;

	credentials->needs_unwrapping = false;
	if (config->role_id_file)
		r = vault_file_read(arena, config->role_id_file, true, &credentials->role_id,
			&credentials->err);
	if (r == 0 && file)
		r = vault_file_read(arena, file, false, &credentials->secret, &credentials->err);
	if (r == 0 && config->secret_id_is_wrapped)
		r = find_unwrapped(credentials);
	credentials->status = r;
}

static void on_read(struct work_item *work, bool is_abandoned)
{
	struct vault_credentials *credentials = container_of(work, struct vault_credentials, work);
	struct handle_group *group = credentials->group;

	--*credentials->jobs;
	if (is_abandoned || credentials->is_closed)
		forget(credentials);
	else if (credentials->status < 0)
		ready(credentials, credentials->status, NULL);
	else if (!credentials->needs_unwrapping)
		make_body(credentials);
	else if (strcmp(credentials->spent, credentials->name) == 0)
		fail(credentials, -EACCES, credentials->spent_text);
	else
		look_up(credentials);
	handle_group_release(group);
}

void vault_credentials_init(struct vault_credentials *credentials, struct vault_link *link,
	struct store *store, const char *set, struct handle_group *group)
{
	credentials->link = link;
	credentials->store = store;
	credentials->set = set;
	credentials->group = group;
}

int vault_credentials_get(struct vault_credentials *credentials, struct mayfly_error *err)
{
	int r;

	forget(credentials);
	credentials->is_under_way = true;
	r = run_item(credentials, read_files, on_read, err);
	if (r < 0)
		credentials->is_under_way = false;
	return r;
}

void vault_credentials_close(struct vault_credentials *credentials)
{
	credentials->is_closed = true;
	if (credentials->exchange)
		vault_exchange_cancel(credentials->exchange);
	credentials->exchange = NULL;
	work_queue_abandon(&credentials->work);
	if (!work_queue_is_under_way(&credentials->work))
		forget(credentials);
}
