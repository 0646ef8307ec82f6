/* The operator's side of org.mayfly.Operator: one connection to the broker, one call at a time.
 * Blocks, with a deadline on every wait. Values never stand in a message: descriptors beside it
 * carry them (value/). */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>
#include <stddef.h>

#define OPERATOR_SOCKET	   "/run/mayfly/operator.sock"
#define OPERATOR_INTERFACE "org.mayfly.Operator."

/* How long the broker may be silent. Work on the whole store says so with OPERATOR_PATIENT. */
#define OPERATOR_PROMPT_MS  (60 * 1000)
#define OPERATOR_PATIENT_MS (60 * 60 * 1000)
#define OPERATOR_FOREVER_MS (-1)

struct operator_call {
	const char *method; /* without the interface's name */
	json_t *parameters; /* NULL: none */
	const int *fds;	    /* sent with it; the caller's */
	size_t fds_count;
	int timeout_ms; /* 0 means OPERATOR_PROMPT_MS */
	/* With a function the call asks for `more` and gives it each reply's parameters (borrowed)
	 * until it returns false. */
	bool (*on_reply)(json_t *parameters, void *data);
	void *data;
};

/* Connects, so that nobody types a value for a broker that is not there. */
int operator_reach(struct cli *cli, struct mayfly_error *err);

/* Calls the broker; connects first if this run has not yet. Takes over CALL's parameters. The
 * last reply's parameters go to *RET_REPLY (may be NULL), owned by the caller.
 * Returns 0; CLI_ERROR_UNREACHABLE; or another negative errno with the broker's refusal in ERR, in
 * the words of reply_error.h. */
int operator_call(struct cli *cli, const struct operator_call *call, json_t **ret_reply,
	struct mayfly_error *err);

/* The usual call: METHOD with PARAMETERS (taken over, may be NULL), one reply. */
int operator_ask(struct cli *cli, const char *method, json_t *parameters, json_t **ret_reply,
	struct mayfly_error *err);

/* For what makes a store: -EALREADY, before anybody types a key, where there is one. ADVICE ends the
 * message "there is a store already, it is unlocked". */
int operator_require_no_store(struct cli *cli, const char *advice, struct mayfly_error *err);

/* Calls METHOD and prints the reply as JSON: what --json does. Returns CLI_DONE or an error. */
int operator_ask_and_print(
	struct cli *cli, const char *method, json_t *parameters, struct mayfly_error *err);

/* NULL is fine. */
void operator_link_close(struct operator_link *link);
