#include "daemon/broker/policy/policy_build.h"

#include "daemon/broker/policy/policy_match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_PREFIX "container.label."

static enum match_key key_of(const char *name)
{
	for (enum match_key key = MATCH_CONTAINER_NAME; key <= MATCH_VOLUME_NAME; key++) {
		const char *known = match_key_name(key);

		if (known && strcmp(known, name) == 0)
			return key;
	}
	return MATCH_CONTAINER_LABEL;
}

static struct policy_term read_term(struct policy_build *build, struct json_place place)
{
	const enum match_key key = key_of(place.key);
	const char *text = json_string_value(place.value);
	struct policy_term term = { .key = key, .label = match_key_label(key), .value = "" };

	if (key == MATCH_CONTAINER_LABEL) {
		const char *label = place.key + strlen(LABEL_PREFIX);

		term.label = build_string(build, label, strlen(label));
	}
	if (text) {
		const size_t length = strlen(text);

		term.is_prefix = length > 0 && text[length - 1] == '*';
		term.value = build_string(build, text, length - term.is_prefix);
	} else {
		term.wanted = json_is_true(place.value);
	}
	return term;
}

/* One-off or not says nothing about which container it is. */
static bool is_specific(const struct policy_term *term)
{
	return term->key != MATCH_COMPOSE_ONEOFF && !(term->is_prefix && term->value[0] == '\0');
}

static void check_together(
	struct policy_build *build, struct json_place place, const struct policy_grant *grant)
{
	const struct policy_term *last = &grant->terms[grant->terms_count - 1];
	char key[160], other_key[160];

	for (size_t i = 0; i + 1 < grant->terms_count; i++)
		if (terms_exclude(&grant->terms[i], last))
			complaint_at(build->complaints, place, NULL,
				"%s contradicts %s: no container can have both",
				term_key(last, key, sizeof key),
				term_key(&grant->terms[i], other_key, sizeof other_key));
}

int terms_parse(struct policy_build *build, struct json_place place, struct policy_grant *grant)
{
	struct json_walk walk = json_walk_start(place);
	struct json_place term;
	bool any_specific = false;

	grant->terms = calloc(json_object_size(place.value) + 1, sizeof *grant->terms);
	if (!grant->terms)
		return -ENOMEM;
	while (json_walk_next(&walk, &term)) {
		if (strcmp(term.key, "note") == 0)
			continue;
		grant->terms[grant->terms_count++] = read_term(build, term);
		any_specific |= is_specific(&grant->terms[grant->terms_count - 1]);
		check_together(build, term, grant);
	}
	if (!any_specific)
		complaint_at(build->complaints, place, NULL,
			"grant %s matches everything: add a term that says which container",
			grant->name);
	return 0;
}
