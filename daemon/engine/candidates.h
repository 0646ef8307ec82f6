/* Who can be mounting a volume right now? Its containers that do not run and whose root file system
 * is mounted; of those that nobody has announced yet the engine is asked. Called by answers.c,
 * which knows about slices and room. */
#pragma once

#include "daemon/engine/answers.h"

/* More of them at once are no answer but an error. */
#define CANDIDATES_MAX 256

/* Chooses, asks, tells; one step of it at most until UNTIL_NS. */
enum answer_step candidates_step(struct answer *answer, int64_t until_ns);

/* No answer of the engine follows. */
void candidates_cancel(struct answer *answer);
