/* What is written down about a lease: the row in state.db by which it is found again, the decision
 * that `mayfly explain` prints, the audit records. Never a value. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Saves the row for LEASE, in the background: it must survive us, not the machine. */
void lease_save(struct lease *lease);
/* The same, and calls ON_FIRST when it is written. -ENOMEM: it will not be called. */
int lease_save_first(struct lease *lease, void (*on_first)(void *data, int status), void *data);
void lease_unsave(struct lease *lease);

/* The row as an object (for tests and adoption). */
json_t *lease_to_row(const struct lease *lease);

/* Saves the decision with the trail so far. OUTCOME: "granted", "refused", "pending". */
void lease_save_decision(struct lease *lease, const char *outcome, const char *summary);

/* The same for what is refused before there is a lease. */
void lease_save_refusal(struct lease_context *context, unsigned engine,
	const struct container_facts *facts, const struct trail *trail, const char *why);

/* What was decided stays; the container has ended. */
void lease_end_decision(struct lease *lease, const char *summary);

/* An audit record of ACTION with who and what; DECISION as in audit.h, REASON may be NULL. The
 * caller owns it. */
json_t *lease_audit_record(
	const struct lease *lease, const char *action, const char *decision, const char *reason);

/* Appends such a record; nobody waits for it. For refusals and ends: what is refused stays refused
 * without it. */
void lease_audit(struct lease *lease, const char *action, const char *decision, const char *reason);
/* The same with RECORD, also of no lease, which is taken over. NULL: there was no memory for it. */
void lease_append_record(struct lease_context *context, json_t *record);

/* An object of the operator interface's type Lease. */
json_t *lease_describe(const struct lease *lease);

/* The same for the container itself: org.mayfly.Container's type Delivery. */
json_t *lease_describe_inside(const struct lease *lease);

/* Its hard end as a time of the wall clock (which may jump; the lease does not); 0: none. */
int64_t lease_expires_unix(const struct lease *lease);

/* "shop-web-1" of the container, of the only candidate, or "". */
const char *lease_container_name(const struct lease *lease);
const char *lease_container_id(const struct lease *lease);
