/* Starting, feeding and ending children. */
#pragma once

#include "daemon/supervisor/supervisor.h"

/* Runs `mayfly-broker --plan` and takes its plan over, checked character by character.
 * The child has written its own complaints to standard error when this fails. */
int children_read_plan(struct supervisor *supervisor, struct mayfly_error *err);

/* Runs `mayfly-broker --check` and returns its exit status. */
int children_run_check(const struct supervisor *supervisor);

/* Starts CHILD with its descriptors; renews its links and sends running peers their new ends. */
int child_start(struct supervisor *supervisor, struct child *child, struct mayfly_error *err);

/* Answers one record of CHILD. */
void child_on_record(struct supervisor *supervisor, struct child *child);

/* Called when CHILD has been reaped: closes its ends, and decides when it is started again. For the
 * broker the guard sweep is done first. */
void child_on_end(struct supervisor *supervisor, struct child *child, int status);

int64_t monotonic_ms(void);
