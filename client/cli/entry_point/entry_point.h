/* Services that only know the environment: the program in the container becomes their entry point,
 * and becomes what they ran before, with secrets in its environment (client/exec).
 *
 * An engine forgets an image's command when a container has an entry point of its own, so that is
 * written out, too. */
#pragma once

#include "client/cli/entry_point/mounted_file.h"

/* What one service will run. */
struct entry_point {
	char *service;
	char *directory;    /* of the secrets; all are read from one */
	json_t *variables;  /* "NAME=PATH", ... */
	json_t *entrypoint; /* what it ran before, a list */
	json_t *command;    /* to be written out; NULL: the file's own stays */
};

struct entry_points {
	struct entry_point *items;
	size_t count;
};

void entry_points_done(struct entry_points *points);

/* Adds what WISH, an option's "SERVICE:NAME=SECRET", asks for to POINTS; what the file does not
 * allow goes to REFUSALS. -EINVAL for a WISH that is none. Pure. */
int entry_points_add(struct entry_points *points, const char *wish, const struct mounts *mounts,
	struct text_list *refusals, struct mayfly_error *err);

/* Finds out what each service ran before, from MODEL or from its image, which blocks; what is wrong
 * goes to REFUSALS, with what to write by hand. */
void entry_points_complete(struct entry_points *points, json_t *model, struct text_list *refusals);

/* Writes POINTS into MODEL, which is changed. PROGRAM: the file on the host that is bound. Pure. */
void entry_points_apply(const struct entry_points *points, const char *program, json_t *model);
