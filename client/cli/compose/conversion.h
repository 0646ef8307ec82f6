/* What becomes of the `secrets:` of a compose file: for each service and target directory one
 * volume of our driver, whose option `files` names the files.
 *
 * Glossary
 *   model      what `config` prints: the file, merged and in its long form, variables unreplaced
 *   volume     one of ours: mounted read-only, without copying, at one directory of one service
 *   refusal    something that a volume cannot do; all are found before anything starts
 *
 * Pure functions of the model: no I/O. */
#pragma once

#include "client/cli/policy/file_spec.h"
#include "client/cli/terminal/text.h"

#include <jansson.h>

#define SECRETS_DIRECTORY "/run/secrets"

/* A file of the volume: which secret, under which path, with which owner. */
struct service_volume {
	char *service;
	char *name;	 /* key below the top-level `volumes` */
	char *directory; /* absolute, without a final '/' */
	char *files;	 /* driver option, see file_spec.h */
};

struct conversion {
	struct service_volume *volumes;
	size_t count;
	json_t *kept;	/* object: top-level secrets that builds need; they stay Compose's own */
	json_t *served; /* object: Mayfly's name -> the top-level secret it comes from */
	struct text_list refusals;
	struct text_list notes;
};

/* Finds out what becomes of MODEL's secrets. The caller owns *RET_CONVERSION until
 * conversion_done(). With refusals nothing may be done. */
void conversion_plan(json_t *model, struct conversion *ret_conversion);
void conversion_done(struct conversion *conversion);

/* MODEL with the conversion made: no secrets but what builds need, volumes of DRIVER beside the
 * services' own. The caller owns the result. */
json_t *conversion_apply(json_t *model, const struct conversion *conversion, const char *driver);

/* An override file that makes the same of the original, with `!reset` tags (yaml_write). */
json_t *conversion_override(json_t *model, const struct conversion *conversion, const char *driver);

/* True if MODEL (the original and the override as Compose merged them) has no service secret left
 * and every volume of CONVERSION: Compose has understood the override. */
bool conversion_is_in_force(json_t *model, const struct conversion *conversion);

/* The files that SERVICE of MODEL gets by its `secrets:`, in *RET_SPECS (freed by the caller), and
 * what is wrong with them in REFUSALS. */
void service_secrets(json_t *model, const char *service, struct file_spec **ret_specs,
	size_t *ret_count, struct text_list *refusals);
