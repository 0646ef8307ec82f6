#include "daemon/broker/policy/policy_match.h"

#include <stdio.h>
#include <string.h>

/* Compose writes the words of Python's booleans. */
#define ONEOFF_YES "True"
#define ONEOFF_NO  "False"

static const struct {
	enum match_key key;
	const char *name;
	const char *label;
} match_keys[] = {
	{ MATCH_CONTAINER_NAME, "container.name", NULL },
	{ MATCH_COMPOSE_PROJECT, "compose.project", "com.docker.compose.project" },
	{ MATCH_COMPOSE_SERVICE, "compose.service", "com.docker.compose.service" },
	{ MATCH_COMPOSE_ONEOFF, "compose.oneoff", "com.docker.compose.oneoff" },
	{ MATCH_SWARM_SERVICE, "swarm.service", "com.docker.swarm.service.name" },
	{ MATCH_IMAGE_DIGEST, "image.digest", NULL },
	{ MATCH_IMAGE_NAME, "image.name", NULL },
	{ MATCH_VOLUME_NAME, "volume.name", NULL },
};

const char *match_key_name(enum match_key key)
{
	for (size_t i = 0; i < sizeof match_keys / sizeof match_keys[0]; i++)
		if (match_keys[i].key == key)
			return match_keys[i].name;
	return NULL;
}

const char *match_key_label(enum match_key key)
{
	for (size_t i = 0; i < sizeof match_keys / sizeof match_keys[0]; i++)
		if (match_keys[i].key == key)
			return match_keys[i].label;
	return NULL;
}

const char *term_key(const struct policy_term *term, char *buffer, size_t size)
{
	const char *name = match_key_name(term->key);
	char shown[128];

	if (name)
		(void)snprintf(buffer, size, "%s", name);
	else
		(void)snprintf(buffer, size, "container.label.%s",
			error_quote(shown, sizeof shown, term->label, strlen(term->label)));
	return buffer;
}

static bool is_prefix_of(const char *prefix, const char *text)
{
	return strncmp(prefix, text, strlen(prefix)) == 0;
}

static bool value_holds(const struct policy_term *term, const char *found)
{
	if (!found)
		return false;
	return term->is_prefix ? is_prefix_of(term->value, found) : strcmp(term->value, found) == 0;
}

/* An image has several digests: its own, and one for each repository that it came from. */
static bool digest_holds(const char *wanted, json_t *digests)
{
	json_t *digest;
	size_t i;

	json_array_foreach (digests, i, digest)
		if (strcmp(wanted, json_string_value(digest)) == 0)
			return true;
	return false;
}

/* A container that Compose did not make is no one-off of Compose. A label with a third value is
 * neither: nothing is known about it. */
static bool oneoff_holds(const struct policy_term *term, const char *found)
{
	if (term->wanted)
		return found && strcmp(found, ONEOFF_YES) == 0;
	return !found || strcmp(found, ONEOFF_NO) == 0;
}

const char *term_found(
	const struct policy_term *term, const struct container_facts *facts, const char *volume)
{
	if (term->label)
		return container_label(facts, term->label);
	switch (term->key) {
	case MATCH_CONTAINER_NAME:
		return facts->name;
	case MATCH_IMAGE_NAME:
		return facts->image_name;
	case MATCH_IMAGE_DIGEST:
		return facts->image_id;
	case MATCH_VOLUME_NAME:
		return volume;
	case MATCH_CONTAINER_LABEL:
	case MATCH_COMPOSE_PROJECT:
	case MATCH_COMPOSE_SERVICE:
	case MATCH_COMPOSE_ONEOFF:
	case MATCH_SWARM_SERVICE:
	case MATCH_INVALID:
		break;
	}
	return NULL;
}

static bool term_holds(
	const struct policy_term *term, const struct container_facts *facts, const char *volume)
{
	if (term->key == MATCH_INVALID)
		return false;
	if (term->key == MATCH_IMAGE_DIGEST)
		return digest_holds(term->value, facts->image_digests);
	if (term->key == MATCH_COMPOSE_ONEOFF)
		return oneoff_holds(term, term_found(term, facts, volume));
	return value_holds(term, term_found(term, facts, volume));
}

const struct policy_term *grant_mismatch(
	const struct policy_grant *grant, const struct container_facts *facts, const char *volume)
{
	for (size_t i = 0; i < grant->terms_count; i++)
		if (!term_holds(&grant->terms[i], facts, volume))
			return &grant->terms[i];
	return NULL;
}

size_t grant_terms_held(
	const struct policy_grant *grant, const struct container_facts *facts, const char *volume)
{
	size_t held = 0;

	for (size_t i = 0; i < grant->terms_count; i++)
		held += term_holds(&grant->terms[i], facts, volume);
	return held;
}

static bool look_at_the_same(const struct policy_term *a, const struct policy_term *b)
{
	if (a->label || b->label)
		return a->label && b->label && strcmp(a->label, b->label) == 0;
	/* Two different digests do not exclude each other: an image has several. */
	return a->key == b->key && a->key != MATCH_IMAGE_DIGEST;
}

/* What TERM wants of its label or name, as a value; a one-off's two are exact ones. That `false`
 * also takes a missing label changes nothing here: no other term holds for a missing one. */
static const char *wanted_value(const struct policy_term *term)
{
	if (term->key != MATCH_COMPOSE_ONEOFF)
		return term->value;
	return term->wanted ? ONEOFF_YES : ONEOFF_NO;
}

bool terms_exclude(const struct policy_term *a, const struct policy_term *b)
{
	const char *wanted_a, *wanted_b;

	if (!look_at_the_same(a, b))
		return false;
	wanted_a = wanted_value(a);
	wanted_b = wanted_value(b);
	if (a->is_prefix && b->is_prefix)
		return !is_prefix_of(wanted_a, wanted_b) && !is_prefix_of(wanted_b, wanted_a);
	if (a->is_prefix)
		return !is_prefix_of(wanted_a, wanted_b);
	if (b->is_prefix)
		return !is_prefix_of(wanted_b, wanted_a);
	return strcmp(wanted_a, wanted_b) != 0;
}

bool grants_exclude(const struct policy_grant *a, const struct policy_grant *b)
{
	for (size_t i = 0; i < a->terms_count; i++)
		for (size_t k = 0; k < b->terms_count; k++)
			if (terms_exclude(&a->terms[i], &b->terms[k]))
				return true;
	return false;
}
