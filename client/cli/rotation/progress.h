/* What Rotate tells, in words. */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>

struct progress {
	struct cli *cli;
	/* On `unwell`, before the broker goes on: the caller's part is taken back. May be NULL. */
	void (*take_back)(struct progress *progress, const char *rotation);
	void *data;
	bool is_silent; /* nothing but the beginning */
	bool is_back;	/* what comes now is the way back */
	bool was_taken_back;
	long long failed;
	json_t *begun; /* owned */
};

/* Prints one event (borrowed); for operator_call's on_reply, with a struct progress. */
bool progress_on_event(json_t *event, void *data);

/* The exit status of a rotation that has come to its end or was left alone. */
int progress_result(const struct progress *progress, struct mayfly_error *err);
void progress_done(struct progress *progress);
