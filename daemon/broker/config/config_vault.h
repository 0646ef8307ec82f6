/* The part "vault" of a set: which server, whom to believe, how to log in, where secrets lie.
 * Holds names of files and addresses, no secret. */
#pragma once

#include "daemon/broker/config/complaint.h"
#include "daemon/broker/config/json_position.h"
#include "include/mayfly/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_VAULT_ADDRESSES_MAX 4

enum vault_auth {
	VAULT_AUTH_INVALID = 0,
	VAULT_AUTH_APPROLE,
	VAULT_AUTH_TOKEN,
	VAULT_AUTH_CERT,
	VAULT_AUTH_JWT,
};

/* A name of the set that lies elsewhere: names[i] is found at targets[i] (PATH[#FIELD][@VERSION]). */
struct config_vault_names {
	char **names, **targets;
	size_t count;
};

struct config_vault {
	unsigned refs; /* the configuration's, and that of who works by it; one thread at a time */
	char *addresses[CONFIG_VAULT_ADDRESSES_MAX]; /* "https://host:8200", no slash at the end */
	uint16_t ports[CONFIG_VAULT_ADDRESSES_MAX];
	size_t addresses_count;
	char *ca_file, *client_cert_file, *client_key_file; /* NULL: none */
	char *name_space;				    /* NULL: none */
	char *mount;					    /* default "secret" */
	char *prefix;					    /* default "" */
	char *value_field;				    /* default "value" */
	enum vault_auth auth;
	char *auth_mount;			    /* default: the method's name */
	char *role, *role_id_file, *secret_id_file; /* NULL where the method has none */
	char *token_file, *jwt_file;		    /* as above */
	bool secret_id_is_wrapped;
	uint32_t refresh_s;   /* default 60 */
	uint32_t max_stale_s; /* default 24 h */
	bool is_cached;	      /* default true */
	struct config_vault_names names;
};

/* From the object at PLACE, which has passed the schema. Complains of what the schema cannot say.
 * The caller owns *RET_VAULT until config_vault_unref(). Returns 0 or -ENOMEM. */
int config_vault_read(
	struct json_place place, struct config_vault **ret_vault, struct complaints *complaints);
struct config_vault *config_vault_ref(struct config_vault *vault);
void config_vault_unref(struct config_vault *vault); /* NULL is fine */

bool config_vault_equal(const struct config_vault *a, const struct config_vault *b);
