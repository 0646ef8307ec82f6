#include "client/cli/operator/reply_error.h"

#include "client/cli/cli.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <stdio.h>
#include <string.h>

/* `next` is what to do; "" when the broker's text says it. */
static const struct {
	const char *name;
	int code;
	const char *why; /* when the broker sends no text */
	const char *next;
} refusals[] = {
	{ "NotInitialised", -ENODATA, "there is no store yet",
		"make it with `mayfly init --environment SET`" },
	{ "AlreadyInitialised", -EALREADY, "the store is there already",
		"see `mayfly status`; what opens it is changed with `mayfly key`" },
	{ "Locked", -ENOKEY, "the store is locked", "run `mayfly unlock`" },
	{ "WrongKey", -EKEYREJECTED, "that is not the key",
		"try again, or use the recovery key: `mayfly unlock --recovery`" },
	{ "UnknownSet", -ENOENT, "there is no such set",
		"`mayfly set list` shows the sets, `mayfly set create` makes one" },
	{ "NotFound", -ENOENT, "there is no such thing", "" },
	{ "Exists", -EEXIST, "other bytes are stored under that name already",
		"`mayfly rotate` brings it to running containers too; with --stage containers "
		"started from now on get it" },
	{ "Invalid", -EINVAL, "the broker does not take that", "" },
	{ "Forbidden", -EPERM, "the configuration forbids it", "" },
	{ "PolicyInvalid", -EINVAL, "there are mistakes",
		"mend what is named above; until then everything in force stays" },
	{ "Damaged", -EBADMSG, "a record cannot be opened",
		"nothing was changed; `mayfly doctor` says more" },
	{ "Failed", -EIO, "the broker could not do it", "nothing was changed" },
};

/* Errors of varlink itself: the broker is of another version, or something else listens there. */
static int explain_foreign(const char *name, json_t *parameters, struct mayfly_error *err)
{
	char shown[120];

	(void)error_quote(shown, sizeof shown, name, strlen(name));
	if (strcmp(name, "org.varlink.service.PermissionDenied") == 0)
		return error_set(err, -EPERM,
			"the broker does not take this from you\nbecome root, or a member of the "
			"operator group");
	if (strcmp(name, "org.varlink.service.InvalidParameter") == 0) {
		const char *parameter = json_text(parameters, "parameter");
		char quoted[60];

		return error_set(err, -EINVAL, "the broker does not take the parameter '%s'\n%s",
			error_quote(quoted, sizeof quoted, parameter, strlen(parameter)),
			"are `mayfly version` and `mayfly status` of one version?");
	}
	return error_set(err, CLI_ERROR_UNREACHABLE, "the broker answered '%s'\n%s", shown,
		"are `mayfly version` and `mayfly status` of one version?");
}

void complaints_print(json_t *complaints)
{
	size_t i;
	json_t *complaint;

	json_array_foreach (complaints, i, complaint) {
		const char *nearest = json_text(complaint, "nearest");

		say_aside("%s: %s", json_text(complaint, "where"), json_text(complaint, "text"));
		if (nearest[0])
			say_aside("; did you mean '%s'?", nearest);
		say_aside("\n");
	}
}

int reply_error_explain(const char *name, json_t *parameters, struct mayfly_error *err)
{
	const size_t prefix = strlen(OPERATOR_INTERFACE);
	const bool is_ours = strncmp(name, OPERATOR_INTERFACE, prefix) == 0;

	for (size_t i = 0; is_ours && i < sizeof refusals / sizeof refusals[0]; i++) {
		const char *text = json_text(parameters, "text");
		const char *nearest = json_text(parameters, "nearest");
		const char *next;
		char hint[300] = "";

		if (strcmp(name + prefix, refusals[i].name) != 0)
			continue;
		complaints_print(json_object_get(parameters, "complaints"));
		if (nearest[0])
			(void)snprintf(hint, sizeof hint, "; did you mean %s?", nearest);
		/* A text with a command in it says what to do by itself. */
		next = strchr(text, '`') ? "" : refusals[i].next;
		return error_set(err, refusals[i].code, "%s%s%s%s",
			text[0] ? text : refusals[i].why, hint, next[0] ? "\n" : "", next);
	}
	return explain_foreign(name, parameters, err);
}
