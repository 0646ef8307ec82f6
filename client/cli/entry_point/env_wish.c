#include "client/cli/entry_point/env_wish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_variable(const char *text, size_t length)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

	return length > 0 && strspn(text, letters) >= length && !(text[0] >= '0' && text[0] <= '9');
}

int env_wish_parse(const char *text, struct env_wish *ret_wish, struct mayfly_error *err)
{
	const char *colon = strchr(text, ':');
	const char *name = colon ? colon + 1 : text;
	const size_t length = strcspn(name, "=");

	if (!colon || colon == text || name[length] != '=' || !name[length + 1])
		return error_set(err, -EINVAL, "--env '%s' is no SERVICE:NAME=SECRET", text);
	if (!is_variable(name, length))
		return error_set(err, -EINVAL,
			"--env '%s': a variable's name has letters, digits and '_' only", text);
	*ret_wish = (struct env_wish){ .service = text_format("%.*s", (int)(colon - text), text),
		.name = text_format("%.*s", (int)length, name),
		.secret = text_copy(name + length + 1) };
	return 0;
}

void env_wish_done(struct env_wish *wish)
{
	free(wish->service);
	free(wish->name);
	free(wish->secret);
	*wish = (struct env_wish){ 0 };
}
