#include "client/cli/insight/audit_line.h"

#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <pwd.h>
#include <string.h>

#define LINE_WIDTH 80
#define TIME_WIDTH 20 /* 2026-01-02T03:04:05Z */
#define WORD_WIDTH 7  /* granted, refused, done */
#define LEFT	   (TIME_WIDTH + 2 + WORD_WIDTH + 2)

/* What is said in words of its own, or is for the chain and for programs. */
static bool is_told(const char *key)
{
	static const char *const told[] = { "seq", "time", "boot", "uptime_ms", "epoch", "mac",
		"action", "decision", "actor", "set", "name", "reason", "engine", "container",
		"container_id", "volume", "mount_id", "grants", "secrets", "image_id" };

	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
		if (strcmp(key, told[i]) == 0)
			return true;
	return false;
}

/* The account of UID on this host, or its number. */
static char *user_name(json_int_t uid)
{
	const struct passwd *entry = getpwuid((uid_t)uid);

	return entry ? text_copy(entry->pw_name) : text_format("uid %lld", (long long)uid);
}

/* Who logged in comes first: behind sudo everybody is root. */
static char *operator_name(json_t *actor)
{
	AUTO_FREE char *user = user_name(json_number(actor, "uid"));
	AUTO_FREE char *login = NULL;

	if (!json_object_get(actor, "login_uid") ||
		json_number(actor, "login_uid") == json_number(actor, "uid"))
		return ptr_take(&user);
	login = user_name(json_number(actor, "login_uid"));
	return text_format("%s as %s", login, user);
}

static char *actor_name(json_t *record)
{
	json_t *actor = json_object_get(record, "actor");
	const char *container = json_text(record, "container");
	const char *id = json_text(record, "container_id");

	if (actor)
		return operator_name(actor);
	if (id[0])
		return text_format("%s (%.12s)", container[0] ? container : "container", id);
	if (container[0])
		return text_copy(container);
	return text_copy("mayfly");
}

/* Adds SEPARATOR and TEXT to *ALL. */
static void append(char **all, const char *separator, const char *text)
{
	char *longer = text_format("%s%s%s", *all, separator, text);

	free(*all);
	*all = longer;
}

/* "prod/a version 2, prod/b version 1": each once, however many files have it. */
static void append_secrets(char **all, json_t *secrets)
{
	struct text_list seen = { 0 };
	size_t i;
	json_t *secret;

	json_array_foreach (secrets, i, secret) {
		AUTO_FREE char *one = text_format("%s/%s version %lld", json_text(secret, "set"),
			json_text(secret, "name"), (long long)json_number(secret, "version"));

		if (text_list_has(&seen, one))
			continue;
		append(all, seen.count == 0 ? ": " : ", ", one);
		text_list_add(&seen, "%s", one);
	}
	text_list_done(&seen);
}

/* Members that a later Mayfly may record: better said plainly than not. */
static void append_others(char **all, json_t *record)
{
	const char *key;
	json_t *value;

	json_object_foreach (record, key, value) {
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *member = NULL;

		if (is_told(key) || json_is_null(value))
			continue;
		text = json_is_string(value) ? text_copy(json_string_value(value))
					     : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		member = text_format("%s %s", key, text ? text : "");
		append(all, ", ", member);
	}
}

static char *describe(json_t *record)
{
	AUTO_FREE char *actor = actor_name(record);
	AUTO_FREE char *grants = NULL;
	char *all = text_format("%s: %s", actor, json_text(record, "action"));

	if (json_text(record, "name")[0]) {
		append(&all, " ", json_text(record, "set"));
		append(&all, "/", json_text(record, "name"));
	}
	if (json_text(record, "volume")[0])
		append(&all, " ", json_text(record, "volume"));
	append_secrets(&all, json_object_get(record, "secrets"));
	append_others(&all, record);
	if (json_array_size(json_object_get(record, "grants")) > 0) {
		grants = text_join(json_object_get(record, "grants"));
		append(&all, ", by grant ", grants);
	}
	return all;
}

void audit_line_print(json_t *record)
{
	const char *decision = json_text(record, "decision");
	const char *reason = json_text(record, "reason");
	const enum paint paint = strcmp(decision, "refused") == 0   ? PAINT_BAD
				 : strcmp(decision, "granted") == 0 ? PAINT_GOOD
								    : PAINT_WEAK;
	AUTO_FREE char *text = describe(record);

	/* Without the fraction: what is printed can be given to --since. */
	say("%.19sZ  ", json_text(record, "time"));
	say_painted(paint, "%-*s", WORD_WIDTH, decision);
	say("  ");
	say_wrapped(LEFT, LINE_WIDTH, text);
	if (reason[0]) {
		say("%*s", LEFT, "");
		say_wrapped(LEFT, LINE_WIDTH, reason);
	}
}
