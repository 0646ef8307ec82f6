#include "client/cli/leases/lease_print.h"

#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "proto/duration.h"

#include <string.h>

#define LEFT	     11
#define LINE_WIDTH   80
#define LEASE_DIGITS 12 /* enough to name one */

static void length_text(char text[DURATION_TEXT_SIZE], long long seconds)
{
	duration_text(text, seconds < 0 ? 0 : (uint64_t)seconds);
}

static bool has(json_t *lease, const char *key)
{
	return json_is_integer(json_object_get(lease, key));
}

char *lease_end_text(json_t *lease)
{
	const bool has_end = has(lease, "expires_in_s");
	long long left = json_number(lease, "renewal_in_s");
	char length[DURATION_TEXT_SIZE];

	if (!has(lease, "renewal_in_s"))
		return text_copy("when it starts");
	if (has_end && json_number(lease, "expires_in_s") < left)
		left = json_number(lease, "expires_in_s");
	length_text(length, left);
	return text_format("within %s", length);
}

static char *term_text(json_t *lease)
{
	const char *id = json_text(lease, "lease");
	char age[DURATION_TEXT_SIZE], renewal[DURATION_TEXT_SIZE], end[DURATION_TEXT_SIZE];

	if (!has(lease, "age_s"))
		return text_format("%.*s, not released yet", LEASE_DIGITS, id);
	length_text(age, json_number(lease, "age_s"));
	length_text(renewal, json_number(lease, "renewal_in_s"));
	length_text(end, json_number(lease, "expires_in_s"));
	return text_format("%.*s, %s old, renewed within %s, %s%s%s", LEASE_DIGITS, id, age,
		renewal, has(lease, "expires_in_s") ? "emptied in " : "no hard end",
		has(lease, "expires_in_s") ? end : "",
		strcmp(json_text(lease, "unrenewed"), "empty") == 0 ? ", emptied if not renewed"
								    : "");
}

/* "prod/db version 3" once for each, however many files have it. */
static char *secrets_text(json_t *lease)
{
	AUTO_JSON json_t *said = json_made(json_array());
	size_t i, k;
	json_t *file, *known;

	json_array_foreach (json_object_get(lease, "files"), i, file) {
		AUTO_FREE char *text = text_format("%s version %lld", json_text(file, "secret"),
			(long long)json_number(file, "version"));
		bool is_known = false;

		json_array_foreach (said, k, known)
			is_known = is_known || strcmp(json_string_value(known), text) == 0;
		if (!is_known)
			(void)json_array_append_new(said, json_string(text));
	}
	return json_array_size(said) ? text_join(said) : text_copy("nothing");
}

void lease_print(json_t *lease)
{
	AUTO_FREE char *term = term_text(lease);
	AUTO_FREE char *secrets = secrets_text(lease);
	AUTO_FREE char *grants = text_join(json_object_get(lease, "grants"));
	const char *container = json_text(lease, "container");

	say_painted(PAINT_STRONG, "%s", container[0] ? container : "(not known yet)");
	if (json_text(lease, "container_id")[0])
		say(" (%.12s)", json_text(lease, "container_id"));
	say("\n  lease    ");
	say_wrapped(LEFT, LINE_WIDTH, term);
	if (grants[0]) {
		say("  grants   ");
		say_wrapped(LEFT, LINE_WIDTH, grants);
	}
	say("  secrets  ");
	say_wrapped(LEFT, LINE_WIDTH, secrets);
}
