/* What one --env of `compose convert` asks for: "SERVICE:NAME=SECRET". Pure. */
#pragma once

#include "client/cli/terminal/text.h"

struct env_wish {
	char *service, *name, *secret;
};

/* Takes TEXT apart. -EINVAL with what is wrong. The caller owns *RET_WISH until env_wish_done(). */
int env_wish_parse(const char *text, struct env_wish *ret_wish, struct mayfly_error *err);
void env_wish_done(struct env_wish *wish);
