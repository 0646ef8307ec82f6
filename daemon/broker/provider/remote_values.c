#include "daemon/broker/provider/remote_values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_MS 300 /* what a set gets that is asked when the time is over */

struct remote_value {
	struct remote_value *next;
	struct remote_values *of;
	char set[MAYFLY_SET_NAME_MAX + 1], name[MAYFLY_REFERENCE_MAX + 1];
	bool previous, is_known, is_reading, is_stale;
	struct secret_selector target;
	char value_field[MAYFLY_FIELD_MAX + 1];
	struct arena *arena;
	const struct value_keeper *keeper;
	struct vault_value *value;
	int status;
	struct mayfly_error err;
	struct vault_reader reader;
};

/* ---- On a thread. ---- */

static int add(struct remote_values *values, const char *set, const char *name, bool previous)
{
	struct remote_value *wanted = calloc(1, sizeof *wanted);

	if (!wanted)
		return -ENOMEM;
	wanted->of = values;
	(void)snprintf(wanted->set, sizeof wanted->set, "%s", set);
	(void)snprintf(wanted->name, sizeof wanted->name, "%s", name);
	wanted->previous = previous;
	wanted->next = values->first;
	values->first = wanted;
	return -EINPROGRESS;
}

static int pick(const struct remote_value *known, struct secret *ret_value, uint32_t *ret_version,
	struct mayfly_error *err)
{
	AUTO_SECRET map = { 0 };
	int r = held_value_open(known->keeper, &known->value->map, &map, err);

	if (r == 0)
		r = vault_pick((struct json_slice){ (const char *)map.bytes, map.length },
			known->target.field, known->value_field, known->arena, ret_value, err);
	if (r < 0)
		(void)error_within(err, "%s/%s", known->set, known->name);
	/* Another set of the search must not stand in for a field that this one should have. */
	if (r == -ENOENT)
		r = err->code = -EINVAL;
	*ret_version = known->value->version;
	return r;
}

int remote_values_get(struct remote_values *values, const char *set, const char *name,
	bool previous, struct secret *ret_value, uint32_t *ret_version, struct mayfly_error *err)
{
	const struct remote_value *value = values->first;

	while (value && (value->previous != previous || strcmp(value->set, set) != 0 ||
				strcmp(value->name, name) != 0))
		value = value->next;
	if (!value)
		return add(values, set, name, previous);
	if (!value->is_known)
		return -EINPROGRESS;
	if (value->status == 0)
		return pick(value, ret_value, ret_version, err);
	*err = value->err;
	return value->status;
}

/* ---- On the loop. ---- */

static void known(struct remote_value *value, int status)
{
	struct remote_values *values = value->of;

	value->is_known = true;
	value->is_reading = false;
	value->status = status;
	if (--values->reading == 0)
		values->on_known(values->context);
}

/* How long there still is. */
static uint32_t left_ms(const struct remote_values *values)
{
	const uint64_t now = uv_now(values->vaults->loop);

	return now + LAST_MS < values->ends_ms ? (uint32_t)(values->ends_ms - now) : LAST_MS;
}

static void on_value(struct vault_reader *reader, int status, struct vault_value *found,
	bool is_stale, const struct mayfly_error *err)
{
	struct remote_value *value = container_of(reader, struct remote_value, reader);
	struct vault_backend *backend = vault_sets_find(value->of->vaults, value->set);

	/* The newest is known; the one before it is meant. */
	if (status == 0 && value->previous && !value->target.version) {
		if (found->version < 2 || !backend) {
			known(value, -ESTALE);
			return;
		}
		value->target.version = found->version - 1;
		vault_read(backend, value->target.name, value->target.version, left_ms(value->of),
			&value->reader);
		return;
	}
	if (status == 0) {
		value->value = vault_value_ref(found);
		value->is_stale = is_stale;
	} else if (value->previous && (status == -ENOENT || status == -EIDRM) &&
		   value->target.version) {
		status = -ESTALE;
	} else {
		value->err = *err;
		if (status != -ENOENT)
			(void)error_within(&value->err, "%s/%s", value->set, value->name);
	}
	known(value, status);
}

/* False: the version that is meant does not exist. */
static bool choose_pinned(struct remote_value *value, const struct vault_backend *backend)
{
	const struct vault_pin *pin = vault_pin_find(backend, value->target.name);

	if (!pin || value->target.version)
		return true;
	value->target.version = value->previous ? pin->version - 1 : pin->version;
	return value->target.version > 0;
}

static void start(struct remote_value *value)
{
	struct vault_sets *vaults = value->of->vaults;
	struct vault_backend *backend = vault_sets_find(vaults, value->set);

	value->arena = vaults->arena;
	value->keeper = vaults->keeper;
	value->reader.on_value = on_value;
	if (!backend) {
		value->is_known = true;
		value->status = error_set(&value->err, -ENOTCONN,
			"set %s cannot be asked: see `mayfly status`", value->set);
		return;
	}
	value->status = vault_backend_target(backend, value->name, &value->target, &value->err);
	if (value->status == 0 && !choose_pinned(value, backend))
		value->status = -ESTALE;
	if (value->status < 0) {
		value->is_known = true;
		return;
	}
	(void)snprintf(
		value->value_field, sizeof value->value_field, "%s", backend->config->value_field);
	value->is_reading = true;
	value->of->reading++;
	vault_read(backend, value->target.name, value->target.version, left_ms(value->of),
		&value->reader);
}

bool remote_values_read(struct remote_values *values, uint32_t limit_ms)
{
	bool any = false;

	for (const struct remote_value *value = values->first; value; value = value->next)
		any |= !value->is_known;
	if (!any)
		return false;
	uv_update_time(values->vaults->loop);
	if (values->ends_ms == 0)
		values->ends_ms = uv_now(values->vaults->loop) + limit_ms;
	/* Held: whatever could end meanwhile does not call back from in here. */
	values->reading++;
	for (struct remote_value *value = values->first; value; value = value->next)
		if (!value->is_known)
			start(value);
	values->reading--;
	return true;
}

size_t remote_values_stale(const struct remote_values *values)
{
	size_t count = 0;

	for (const struct remote_value *value = values->first; value; value = value->next)
		count += value->is_known && value->status == 0 && value->is_stale;
	return count;
}

static bool is_described_before(
	const struct remote_values *values, const struct remote_value *value)
{
	const struct remote_value *other = values->first;

	while (other != value && (!other->value || strcmp(other->set, value->set) != 0 ||
					 strcmp(other->target.name, value->target.name) != 0 ||
					 other->value->version != value->value->version))
		other = other->next;
	return other != value;
}

void remote_values_describe(const struct remote_values *values, char *buffer, size_t size)
{
	const char *set = NULL;
	size_t length = 0;

	buffer[0] = '\0';
	for (const struct remote_value *value = values->first; value && length < size;
		value = value->next) {
		const struct vault_backend *backend = vault_sets_find(values->vaults, value->set);

		if (!value->value || !backend || is_described_before(values, value))
			continue;
		if (!set || strcmp(set, value->set) != 0)
			length += (size_t)snprintf(buffer + length, size - length,
				"%s%s: ", set ? "; " : "", backend->config->addresses[0]);
		else
			length += (size_t)snprintf(buffer + length, size - length, ", ");
		set = value->set;
		if (length < size)
			length += (size_t)snprintf(buffer + length, size - length,
				value->value->version ? "%s/%s version %u" : "%s/%s",
				backend->config->mount, value->target.name, value->value->version);
	}
}

void remote_values_done(struct remote_values *values)
{
	struct remote_value *value;

	while ((value = values->first)) {
		values->first = value->next;
		if (value->is_reading)
			vault_reader_forget(&value->reader);
		vault_value_unref(value->value);
		free(value);
	}
	values->reading = 0;
}
