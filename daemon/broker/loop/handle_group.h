/* Counts what keeps an operation alive, and frees it when the last of it is gone.
 *
 * Glossary
 *   operation   one struct of the caller that has everything of one piece of work in it: handles,
 *               deadlines, watches, work items, state
 *   group       a member of that struct
 *   hold        what must be over before the struct may be freed: a libuv handle until its close
 *               callback, a work item until its completion
 *
 * Life of an operation:
 *
 *	handle_group_init(&op->group, op_free);
 *	deadline_init(&op->deadline, loop, &op->group, on_late);
 *	...
 *	op_finish(op):	if (handle_group_end(&op->group)) {	// false the second time
 *				tell whoever waits;
 *				deadline_close(&op->deadline);
 *				handle_group_release(&op->group);	// op_free() here, or later
 *			}
 *
 * The `data` of a handle in a group is the group (that is how the close callback finds it); the
 * callback of a handle finds the operation by container_of().
 * Loop thread only. Does not allocate. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* The struct of TYPE whose MEMBER is at POINTER. */
#define container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct handle_group {
	unsigned holds;
	bool is_ending;
	void (*on_empty)(struct handle_group *group);
};

/* Starts with one hold, the operation's own, until handle_group_end() and its release.
 * ON_EMPTY is called once, after the last hold is released; it may free the operation. */
void handle_group_init(struct handle_group *group, void (*on_empty)(struct handle_group *group));

/* True the first time: the caller then closes what it has and releases the operation's own hold.
 * False afterwards, so that an operation can be finished from several sides. */
bool handle_group_end(struct handle_group *group);

void handle_group_hold(struct handle_group *group);

/* The operation may be gone when this returns. */
void handle_group_release(struct handle_group *group);

/* Puts HANDLE, which a uv_..._init() has just made, into GROUP: sets its data, takes a hold. */
void handle_group_add(struct handle_group *group, uv_handle_t *handle);

/* Closes a handle of a group; its hold is released by the close callback, never before this
 * returns. Twice is fine. */
void handle_group_close(uv_handle_t *handle);
