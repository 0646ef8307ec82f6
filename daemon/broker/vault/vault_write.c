#include "daemon/broker/vault/vault_write.h"

#include "daemon/broker/vault/vault_body.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WRITE_LIMIT_MS 5000
#define PATH(...)      ((const char *const[]){ __VA_ARGS__, NULL })

static void done(struct vault_write *write, int status, enum put_outcome outcome,
	const struct mayfly_error *err)
{
	TAILQ_REMOVE(&write->backend->writes, write, entry);
	write->on_written(write->context, status, outcome, write->version, err);
}

static void refuse(struct vault_write *write, int status, const char *text)
{
	struct mayfly_error err;

	(void)error_set(&err, status, "%s", text);
	done(write, status, PUT_INVALID, &err);
}

static void on_answer(void *context, const struct vault_answer *answer)
{
	struct vault_write *write = context;
	struct vault_backend *backend = write->backend;
	const char *url = backend->link.addresses[0].url, *mount = backend->config->mount;
	const bool is_new = write->version == 0;
	struct json_slice version;
	struct mayfly_error err;
	int64_t number;

	write->exchange = NULL;
	vault_backend_outdate(backend, write->target.name);
	if (answer->outcome == VAULT_OK) {
		write->version++;
		if (json_slice_path(answer->document, PATH("data", "version"), &version) &&
			json_slice_integer(version, &number))
			write->version = (uint32_t)number;
		done(write, 0, is_new ? PUT_CREATED : PUT_STAGED, &err);
		return;
	}
	if (answer->outcome == VAULT_DENIED)
		(void)error_set(&err, -EACCES,
			"the token of set %s may not write %s/%s on %s: whoever may `create` and "
			"`update` %s/%s%s there can, for instance with `bao kv put %s/%s %s=-`",
			backend->set, mount, write->target.name, url, mount,
			backend->kv_version == 2 ? "data/" : "", write->target.name, mount,
			write->target.name, backend->config->value_field);
	else if (answer->outcome == VAULT_REFUSED)
		(void)error_set(&err, -EAGAIN,
			"%s does not take it (%s): somebody else has changed it just now, or the "
			"server wants more than Mayfly knows",
			url, answer->text);
	else
		(void)error_set(&err, -EHOSTDOWN, "%s: %s%s", url, answer->text,
			answer->was_sent ? "; it may have been written all the same" : "");
	done(write, err.code, PUT_INVALID, &err);
}

/* {"options": {"cas": VERSION}, "data": {FIELD: VALUE}}; of KV version 1 the inner one alone. */
static int make_body(
	const struct vault_write *write, struct secret *ret_body, struct mayfly_error *err)
{
	const struct vault_backend *backend = write->backend;
	const struct vault_field field = { .key = backend->config->value_field,
		.bytes = (const char *)write->value->bytes,
		.length = write->value->length };
	AUTO_SECRET data = { 0 };
	char options[32];
	int r = vault_body_make(backend->arena, &field, 1, &data, err);

	if (r == 0 && backend->kv_version == 2) {
		const int length =
			snprintf(options, sizeof options, "{\"cas\":%u}", write->version);
		const struct vault_field fields[] = {
			{ .key = "options",
				.bytes = options,
				.length = (size_t)length,
				.is_raw = true },
			{ .key = "data",
				.bytes = (const char *)data.bytes,
				.length = data.length,
				.is_raw = true },
		};

		return vault_body_make(backend->arena, fields, 2, ret_body, err);
	}
	if (r == 0)
		*ret_body = secret_take(&data);
	return r;
}

static void on_token(struct vault_login_waiter *waiter, struct vault_token *token, bool is_refused,
	const char *problem)
{
	struct vault_write *write = container_of(waiter, struct vault_write, login);
	const struct vault_backend *backend = write->backend;
	AUTO_SECRET body = { 0 };
	struct mayfly_error err;
	char path[VAULT_PATH_SIZE + 320];
	const struct vault_request request = { .method = "POST",
		.path = path,
		.token = token,
		.body = &body,
		.timeout_ms = WRITE_LIMIT_MS,
		.is_once = true,
		.context = write,
		.on_answer = on_answer };
	int r;

	(void)is_refused;
	if (!token) {
		refuse(write, -EHOSTDOWN, problem);
		return;
	}
	(void)snprintf(path, sizeof path, "%s/%s%s", backend->config->mount,
		backend->kv_version == 2 ? "data/" : "", write->target.name);
	r = make_body(write, &body, &err);
	if (r == 0)
		r = vault_link_send(
			(struct vault_link *)(uintptr_t)&backend->link, &request, &write->exchange);
	if (r == -EILSEQ || r == -ENOMEM)
		refuse(write, r, r == -EILSEQ ? err.text : "there is no memory to write it");
}

static void send_it(struct vault_write *write)
{
	write->login.on_token = on_token;
	vault_login_want(&write->backend->login, &write->login);
}

/* Another value is there, or the same. */
static void compare(struct vault_write *write, const struct vault_value *value)
{
	const struct vault_backend *backend = write->backend;
	AUTO_SECRET map = { 0 }, present = { 0 };
	struct mayfly_error err;
	struct json_slice slice, only;
	int r = held_value_open(backend->keeper, &value->map, &map, &err);

	if (r < 0) {
		done(write, r, PUT_INVALID, &err);
		return;
	}
	slice = (struct json_slice){ (const char *)map.bytes, map.length };
	if (json_slice_count(slice) > 1 ||
		!json_slice_member(slice, backend->config->value_field, &only)) {
		refuse(write, -EINVAL,
			"it has fields of its own on the server: change it there, field by field");
		return;
	}
	r = vault_pick(slice, backend->config->value_field, "", backend->arena, &present, &err);
	if (r == 0 && secret_equal(&present, write->value)) {
		done(write, 0, PUT_UNCHANGED, &err);
		return;
	}
	if (!write->stage) {
		refuse(write, -EEXIST, "it has another value already");
		return;
	}
	send_it(write);
}

static void on_value(struct vault_reader *reader, int status, struct vault_value *value,
	bool is_stale, const struct mayfly_error *err)
{
	struct vault_write *write = container_of(reader, struct vault_write, reader);

	write->version = value ? value->version : 0;
	if (status == -ENOENT && !is_stale)
		send_it(write);
	else if (status == 0 && !is_stale)
		compare(write, value);
	else if (is_stale)
		refuse(write, -EHOSTDOWN, "no server answers; see `mayfly status`");
	else
		done(write, status, PUT_INVALID, err);
}

int vault_write_start(struct vault_write *write, struct vault_backend *backend, const char *name,
	struct mayfly_error *err)
{
	int r = vault_backend_target(backend, name, &write->target, err);

	if (r < 0)
		return r;
	if (write->target.field[0] || write->target.version)
		return error_set(err, -EINVAL,
			"'%s' is a field or a version on the server: change it there", name);
	write->backend = backend;
	TAILQ_INSERT_TAIL(&backend->writes, write, entry);
	write->reader.on_value = on_value;
	vault_backend_outdate(backend, write->target.name);
	vault_read(backend, write->target.name, 0, WRITE_LIMIT_MS, &write->reader);
	return 0;
}

void vault_writes_end(struct vault_backend *backend)
{
	struct vault_write *write;

	while ((write = TAILQ_FIRST(&backend->writes))) {
		vault_reader_forget(&write->reader);
		vault_login_forget(&backend->login, &write->login);
		if (write->exchange)
			vault_exchange_cancel(write->exchange);
		write->exchange = NULL;
		refuse(write, -ECANCELED,
			"its set has just been configured anew; it may have been written or not");
	}
}
