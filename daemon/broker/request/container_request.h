/* The pipeline of a container's own request: attested before -> may it -> is it delivered already ->
 * which values -> a lease -> recorded, written -> attested once more -> attached. The front translates
 * its protocol into this call and the answer back; it decides nothing. Read container_request.c from
 * the bottom. */
#pragma once

#include "daemon/broker/request/attestation.h"

#define CONTAINER_REQUEST_WAIT_MAX_MS 600000

struct fair_share;

struct container_wish {
	const char *grant;  /* NULL: every grant that matches */
	const char **names; /* of secrets without their set, COUNT of them; 0: all */
	size_t names_count;
	uint64_t wait_ms; /* for what can still come; 0: not at all */
	struct fair_share
		*share; /* of the caller; outlives the request, unless that is abandoned */
};

enum container_outcome {
	OUTCOME_INVALID = 0,
	OUTCOME_DELIVERED,    /* LEASE has it, for the first time or with more files than before */
	OUTCOME_PRESENT,      /* LEASE had it already */
	OUTCOME_REFUSED,      /* policy or posture */
	OUTCOME_NOT_ATTESTED, /* not any more */
	OUTCOME_NOT_YET,      /* it may come later */
	OUTCOME_NO_TARGET, /* the files cannot be put where they belong; ADVICE may say what to do */
	OUTCOME_FAILED,
};

struct container_answer {
	enum container_outcome outcome;
	const struct lease *lease; /* valid during the call */
	const char *text;	   /* for what is not delivered */
	const char *advice;	   /* or NULL */
};

struct container_request;

typedef void container_answer_function(void *data, const struct container_answer *answer);

/* WHO asks for WISH through a connection whose process is PIDFD (copied, as is all the rest).
 * Returns 0, and ON_ANSWER is called once, never before this returns, after WISH's wait and 30 s at
 * most; or -ENOMEM, and it is never called. *RET_REQUEST is valid until then. */
int container_request_start(struct broker *broker, const struct attested *who, int pidfd,
	const struct container_wish *wish, container_answer_function *on_answer, void *data,
	struct container_request **ret_request);

/* The caller has gone: ON_ANSWER is not called any more; what was not released yet is wiped. */
void container_request_abandon(struct container_request *request);

/* For broker_wake(): each request that waits looks again whether it may go on. */
void container_requests_wake(struct broker *broker);
