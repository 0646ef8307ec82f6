#include "daemon/broker/config/config_vault.h"

#include "proto/cleanup.h"
#include "proto/duration.h"
#include "proto/secret_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DURATION_MAX_S	    (UINT32_C(10) * 366 * 86400)
#define DEFAULT_REFRESH_S   60
#define DEFAULT_MAX_STALE_S (24 * 3600)

struct vault_making {
	struct config_vault *vault;
	struct complaints *complaints;
	bool out_of_memory;
};

static void config_vault_unref_p(struct config_vault **vault)
{
	config_vault_unref(*vault);
	*vault = NULL;
}

static char *copy(struct vault_making *making, const char *text)
{
	char *copied = text ? strdup(text) : NULL;

	if (text && !copied)
		making->out_of_memory = true;
	return copied;
}

static char *member(struct vault_making *making, struct json_place object, const char *key,
	const char *otherwise)
{
	const char *text = json_place_text(object, key);

	return copy(making, text ? text : otherwise);
}

/* ---- Addresses. ---- */

/* Whether HOST is this machine by its number or its one reserved name: what goes there crosses no
 * network. */
static bool is_loopback(const char *host, size_t length)
{
	char text[64] = "";
	struct in_addr four;
	struct in6_addr six;

	if (length >= sizeof text)
		return false;
	memcpy(text, host, length);
	if (strcasecmp(text, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, text, &four) == 1)
		return (ntohl(four.s_addr) >> 24) == 127;
	if (text[0] == '[' && text[length - 1] == ']') {
		text[length - 1] = '\0';
		return inet_pton(AF_INET6, text + 1, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
	}
	return false;
}

static void read_address(struct vault_making *making, struct json_place place)
{
	struct config_vault *vault = making->vault;
	const char *text = json_string_value(place.value);
	const bool is_tls = strncmp(text, "https://", 8) == 0;
	const char *host = text + (is_tls ? 8 : 7);
	const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
	const char *colon = strchr(bracket ? bracket : host, ':');
	const size_t length = colon ? (size_t)(colon - host) : strlen(host);
	const unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : is_tls ? 443 : 80;

	if (!is_tls && !is_loopback(host, length))
		complaint_at(making->complaints, place, NULL,
			"'%s' would send tokens and secrets over the network in clear text: write "
			"https://",
			text);
	if (length == 0 || port < 1 || port > UINT16_MAX)
		complaint_at(making->complaints, place, NULL,
			"'%s' is no address of a server: https://HOST or https://HOST:PORT", text);
	if (vault->addresses_count == CONFIG_VAULT_ADDRESSES_MAX)
		return;
	vault->ports[vault->addresses_count] = (uint16_t)port;
	vault->addresses[vault->addresses_count++] = copy(making, text);
}

static void read_addresses(struct vault_making *making, struct json_place object)
{
	struct json_place place, item;
	struct json_walk walk;

	if (json_place_member(object, "address", &place))
		read_address(making, place);
	if (!json_place_member(object, "more_addresses", &place))
		return;
	walk = json_walk_start(place);
	while (json_walk_next(&walk, &item))
		read_address(making, item);
}

/* ---- Logging in. ---- */

static const struct {
	const char *name;
	enum vault_auth method;
	const char *needs[2], *may_have[2];
} methods[] = {
	{ "approle", VAULT_AUTH_APPROLE, { "role_id_file", "secret_id_file" },
		{ "secret_id_wrapped", NULL } },
	{ "token", VAULT_AUTH_TOKEN, { "token_file", NULL }, { NULL, NULL } },
	{ "cert", VAULT_AUTH_CERT, { NULL, NULL }, { "role", NULL } },
	{ "jwt", VAULT_AUTH_JWT, { "jwt_file", "role" }, { NULL, NULL } },
};
static const char *const method_keys[] = { "role_id_file", "secret_id_file", "secret_id_wrapped",
	"token_file", "role", "jwt_file" };

static bool is_one_of(const char *key, const char *const *keys)
{
	return (keys[0] && strcmp(key, keys[0]) == 0) ||
	       (keys[0] && keys[1] && strcmp(key, keys[1]) == 0);
}

/* What a method needs is there, and nothing that it would silently ignore. */
static void check_method(struct vault_making *making, struct json_place auth, size_t method)
{
	for (size_t i = 0; i < sizeof method_keys / sizeof method_keys[0]; i++) {
		const char *key = method_keys[i];
		const bool is_there = json_object_get(auth.value, key) != NULL;
		struct json_place place;

		if (!is_there && is_one_of(key, methods[method].needs))
			complaint_at(making->complaints, auth, NULL, "method '%s' needs '%s'",
				methods[method].name, key);
		if (is_there && !is_one_of(key, methods[method].needs) &&
			!is_one_of(key, methods[method].may_have) &&
			json_place_member(auth, key, &place))
			complaint_at(making->complaints, place, NULL,
				"'%s' is nothing that method '%s' uses", key, methods[method].name);
	}
}

static void read_auth(struct vault_making *making, struct json_place object)
{
	struct config_vault *vault = making->vault;
	struct json_place auth;
	const char *name;

	if (!json_place_member(object, "auth", &auth))
		return;
	name = json_place_text(auth, "method");
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(methods[i].name, name) == 0) {
			vault->auth = methods[i].method;
			check_method(making, auth, i);
		}
	vault->auth_mount = member(making, auth, "mount", name);
	vault->role = member(making, auth, "role", NULL);
	vault->role_id_file = member(making, auth, "role_id_file", NULL);
	vault->secret_id_file = member(making, auth, "secret_id_file", NULL);
	vault->token_file = member(making, auth, "token_file", NULL);
	vault->jwt_file = member(making, auth, "jwt_file", NULL);
	vault->secret_id_is_wrapped =
		json_is_true(json_object_get(auth.value, "secret_id_wrapped"));
	if (vault->auth == VAULT_AUTH_CERT && !json_object_get(object.value, "client_cert_file"))
		complaint_at(making->complaints, auth, NULL,
			"method 'cert' needs 'client_cert_file' beside 'auth'");
}

/* ---- Names. ---- */

static void read_names(struct vault_making *making, struct json_place object)
{
	struct config_vault_names *names = &making->vault->names;
	struct json_place place, item;
	struct json_walk walk;

	if (!json_place_member(object, "names", &place))
		return;
	names->names = calloc(json_object_size(place.value) + 1, sizeof *names->names);
	names->targets = calloc(json_object_size(place.value) + 1, sizeof *names->targets);
	if (!names->names || !names->targets) {
		making->out_of_memory = true;
		return;
	}
	walk = json_walk_start(place);
	while (json_walk_next(&walk, &item)) {
		const char *target = json_string_value(item.value);
		struct mayfly_error err;

		if (strcmp(item.key, "note") == 0)
			continue;
		names->names[names->count] = copy(making, item.key);
		names->targets[names->count++] = copy(making, target);
		if (secret_selector_check(target, &err) < 0)
			complaint_at(making->complaints, item, NULL, "%s", err.text);
	}
}

static uint32_t read_duration(
	struct vault_making *making, struct json_place object, const char *key, uint32_t otherwise)
{
	struct json_place place;
	uint32_t seconds = 0;

	if (!json_place_member(object, key, &place))
		return otherwise;
	if (!duration_parse(json_string_value(place.value), DURATION_MAX_S, &seconds) ||
		seconds == 0)
		complaint_at(making->complaints, place, NULL,
			"'%s' is at least 1s and at most 3660d", key);
	return seconds;
}

static bool is_off(struct json_place object, const char *key)
{
	const char *text = json_place_text(object, key);

	return text && strcmp(text, "off") == 0;
}

int config_vault_read(
	struct json_place place, struct config_vault **ret_vault, struct complaints *complaints)
{
	MAYFLY_CLEANUP(config_vault_unref_p) struct config_vault *vault = calloc(1, sizeof *vault);
	struct vault_making making = { .vault = vault, .complaints = complaints };

	if (!vault)
		return -ENOMEM;
	vault->refs = 1;
	read_addresses(&making, place);
	vault->ca_file = member(&making, place, "ca_file", NULL);
	vault->client_cert_file = member(&making, place, "client_cert_file", NULL);
	vault->client_key_file = member(&making, place, "client_key_file", NULL);
	vault->name_space = member(&making, place, "namespace", NULL);
	vault->mount = member(&making, place, "mount", "secret");
	vault->prefix = member(&making, place, "prefix", "");
	vault->value_field = member(&making, place, "value_field", "value");
	vault->refresh_s = read_duration(&making, place, "refresh", DEFAULT_REFRESH_S);
	vault->max_stale_s = read_duration(&making, place, "max_stale", DEFAULT_MAX_STALE_S);
	vault->is_cached = !is_off(place, "cache");
	read_auth(&making, place);
	read_names(&making, place);
	if (making.out_of_memory)
		return -ENOMEM;
	*ret_vault = ptr_take(&vault);
	return 0;
}

struct config_vault *config_vault_ref(struct config_vault *vault)
{
	vault->refs++;
	return vault;
}

void config_vault_unref(struct config_vault *vault)
{
	if (!vault || --vault->refs > 0)
		return;
	for (size_t i = 0; i < vault->addresses_count; i++)
		free(vault->addresses[i]);
	for (size_t i = 0; i < vault->names.count; i++) {
		free(vault->names.names[i]);
		free(vault->names.targets[i]);
	}
	free(vault->names.names);
	free(vault->names.targets);
	free(vault->ca_file);
	free(vault->client_cert_file);
	free(vault->client_key_file);
	free(vault->name_space);
	free(vault->mount);
	free(vault->prefix);
	free(vault->value_field);
	free(vault->auth_mount);
	free(vault->role);
	free(vault->role_id_file);
	free(vault->secret_id_file);
	free(vault->token_file);
	free(vault->jwt_file);
	free(vault);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_names(const struct config_vault_names *a, const struct config_vault_names *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same(a->names[i], b->names[i]) || !same(a->targets[i], b->targets[i]))
			return false;
	return true;
}

bool config_vault_equal(const struct config_vault *a, const struct config_vault *b)
{
	if (a->addresses_count != b->addresses_count)
		return false;
	for (size_t i = 0; i < a->addresses_count; i++)
		if (!same(a->addresses[i], b->addresses[i]))
			return false;
	return same(a->ca_file, b->ca_file) && same(a->client_cert_file, b->client_cert_file) &&
	       same(a->client_key_file, b->client_key_file) && same(a->name_space, b->name_space) &&
	       same(a->mount, b->mount) && same(a->prefix, b->prefix) &&
	       same(a->value_field, b->value_field) && a->auth == b->auth &&
	       same(a->auth_mount, b->auth_mount) && same(a->role, b->role) &&
	       same(a->role_id_file, b->role_id_file) &&
	       same(a->secret_id_file, b->secret_id_file) && same(a->token_file, b->token_file) &&
	       same(a->jwt_file, b->jwt_file) &&
	       a->secret_id_is_wrapped == b->secret_id_is_wrapped && a->refresh_s == b->refresh_s &&
	       a->max_stale_s == b->max_stale_s && a->is_cached == b->is_cached &&
	       same_names(&a->names, &b->names);
}
