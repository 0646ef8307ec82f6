/* The open guard's reader: who waits to open a file of a delivery, and the answer.
 *
 * Glossary
 *   opener  one process in open(2), held by the kernel until it is answered
 *   group   where its event comes from; one group guards one armed delivery at a time, the last one all
 *           released ones
 *
 * One event is read at a time, at most 16 of a group are unanswered: a flood costs whoever waits in
 * that group, not descriptors. An opener that waits longer than GUARD_DEADLINE_MS is denied. Only
 * the groups' one reader may answer: responses name a descriptor number (fanotify(7)). Loop thread
 * only. */
#pragma once

#include "daemon/broker/loop/handle_group.h"
#include "proto/error.h"
#include "proto/supervisor_protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#define GUARD_DEADLINE_MS    10000
#define GUARD_UNANSWERED_MAX 16
#define GUARD_NO_GROUP	     UINT32_MAX

struct guard;

struct opener {
	TAILQ_ENTRY(opener) in_group; /* the guard's */
	TAILQ_ENTRY(opener) waiting;  /* the owner's */
	struct guard *guard;
	uint32_t group;
	int fd;	   /* the event's descriptor: its number is the kernel's name for the open */
	int pidfd; /* -1: the process has ended */
	pid_t pid;
	uint64_t device; /* st_dev of the file: which delivery */
	uint64_t inode;
	uint64_t mount_id; /* through which mount; unique where the kernel has that */
	uint64_t arrived_ms;
	/* Set by whoever keeps it: called when it has waited too long; it is denied when that
	 * returns. */
	void (*on_late)(struct opener *opener);
	void *owner;
};

TAILQ_HEAD(openers, opener);

struct guard_callbacks {
	/* Somebody opens. The callee answers now, or keeps OPENER (sets owner and on_late) and
	 * answers later. */
	void (*on_open)(struct opener *opener, void *data);
	/* The last descriptor and mapping of one open of a file is gone: what was passed on to other
	 * processes, inherited or mapped counts as that open still. Of those deliveries that were marked
	 * to see it. May be told twice. */
	void (*on_close)(uint64_t device, uint64_t inode, void *data);
	void *data;
};

/* GROUPS (COUNT with the shared one, 0 where the kernel has none) are borrowed until guard_close().
 */
int guard_new(uv_loop_t *loop, const int *groups, uint32_t count,
	const struct guard_callbacks *callbacks, struct guard **ret_guard,
	struct mayfly_error *err);

/* Answers OPENER and frees it. */
void guard_answer(struct opener *opener, bool is_allowed);

/* A group for a delivery that is to be armed, or GUARD_NO_GROUP when all are in use. */
uint32_t guard_take_group(struct guard *guard);
/* Takes up one that a delivery of before has. */
void guard_claim_group(struct guard *guard, uint32_t group);
/* The group is free again. What is still in it is answered like everything else: it is never
 * closed. */
void guard_return_group(struct guard *guard, uint32_t group);

uint32_t guard_shared_group(const struct guard *guard);
bool guard_is_available(const struct guard *guard); /* at least one group to arm with */
bool guard_has_free_group(const struct guard *guard);

/* Denies whoever waits and stops reading. Frees the guard from the loop. */
void guard_close(struct guard *guard);
