/* One delivery, as the broker sees it: its files before release, and the mounter's operations on
 * it, each with one completion. Mechanics only: who may have it is decided above. One operation at
 * a time; the owner waits for its completion before the next, and before delivery_done().
 * Loop thread only. */
#pragma once

#include "daemon/broker/delivery/held_value.h"
#include "daemon/broker/delivery/mounter_link.h"
#include "daemon/broker/loop/work_queue.h"
#include "include/mayfly/limits.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DELIVERY_HEX_LENGTH (2 * DELIVERY_ID_BYTES)

/* The description of a generation; not linked at the top, so programs that scan the directory do
 * not meet it. */
#define DELIVERY_DESCRIPTION ".mayfly.json"

struct delivery_file {
	char path[MAYFLY_FILE_PATH_SIZE];
	uint32_t uid, gid; /* on the host */
	mode_t mode;
	struct held_value value; /* until it is written */
	int writer;		 /* the placeholder's descriptor, -1 */
	uint64_t inode;		 /* of the placeholder, once it is made */
};

struct located {
	uint64_t mount_id;
	uint64_t mount_namespace, pid_namespace;
	uint32_t flags; /* enum mounter_reply_flags */
};

struct delivery {
	uint8_t id[DELIVERY_ID_BYTES];
	char hex[DELIVERY_HEX_LENGTH + 1];
	struct mounter_link *mounter; /* borrowed */
	void *owner;		      /* for the callbacks of whoever has several */
	bool is_plain;
	bool is_unsealed;    /* as the mounter last said */
	bool sees_closes;    /* the guard tells of closes after the release too */
	uint32_t phase;	     /* as the mounter last said; PHASE_EMPTY at first */
	uint32_t generation; /* of the files below, or of what was released */
	uint64_t device;
	struct delivery_file *files; /* owned; freed once they are written */
	size_t files_count;
	struct located located;
	struct delivery_operation *operation; /* the one under way */
};

/* STATUS 0, or a negative errno with DETAIL for a person. Called once for each operation, from the
 * loop. Starting one fails with -ECONNRESET without a mounter, and with -ENOMEM. */
typedef void delivery_done_function(struct delivery *delivery, int status, const char *detail);

/* HEX: 64 hex digits. -EINVAL otherwise. */
int delivery_init(struct delivery *delivery, const char *hex, struct mounter_link *mounter);
/* With an id of its own. */
void delivery_init_random(struct delivery *delivery, struct mounter_link *mounter);
void delivery_done(struct delivery *delivery);

/* An operation is under way. */
bool delivery_is_busy(const struct delivery *delivery);

/* Replaces the files to be delivered; takes FILES over. */
void delivery_set_files(struct delivery *delivery, struct delivery_file *files, size_t count);
void delivery_files_free(struct delivery_file *files, size_t count);

/* Makes the tmpfs with placeholders for the files (none is fine), guards it by GROUP (UINT32_MAX:
 * not at all) and attaches it on the host path in the mount namespace of the process behind ENGINE.
 */
int delivery_arm(
	struct delivery *delivery, uint32_t group, int engine, delivery_done_function *on_done);

/* Only makes the tmpfs and its files, for ATTACH_INSIDE. */
int delivery_make(struct delivery *delivery, delivery_done_function *on_done);

/* A further generation with placeholders for the files, in place of what readers see now. */
int delivery_refill(struct delivery *delivery, delivery_done_function *on_done);

/* Looks for it at TARGET in the mount namespace of INIT (a pidfd); delivery->located then says what
 * was found. */
int delivery_locate(
	struct delivery *delivery, int init, const char *target, delivery_done_function *on_done);

/* Opens the held values and writes them into the placeholders, on the work queue; closes the
 * writers. */
int delivery_write(struct delivery *delivery, uv_loop_t *loop, const struct value_keeper *keeper,
	delivery_done_function *on_done);

int delivery_seal(struct delivery *delivery, delivery_done_function *on_done);
/* The other way, for a further generation. */
int delivery_unseal(struct delivery *delivery, delivery_done_function *on_done);
/* Placeholders of a further generation for the files, beside what readers see. */
int delivery_prepare(struct delivery *delivery, delivery_done_function *on_done);
/* Puts that generation in place of what readers see. KEEP_PREVIOUS: who reads the older one may go on
 * until delivery_clean(). */
int delivery_commit(struct delivery *delivery, bool keep_previous, delivery_done_function *on_done);
/* Empties every generation but the present one; with KEEP_YOUNGER only those that are not readable since
 * the last such cleaning. */
int delivery_clean(struct delivery *delivery, bool keep_younger, delivery_done_function *on_done);
/* Empties and removes the file PATH (as the grant calls it) from what readers see, and every older
 * generation. One that is not there is fine. */
int delivery_take(struct delivery *delivery, const char *path, delivery_done_function *on_done);
int delivery_retreat(struct delivery *delivery, bool keep_guard, delivery_done_function *on_done);

/* Guards it by GROUP while nobody has it yet. */
int delivery_mark(struct delivery *delivery, uint32_t group, delivery_done_function *on_done);

/* Attaches it at TARGET in the mount namespace of INIT: over the delivery COVERED (NULL: over
 * none), or in a directory that is there or, with MAKE_TARGET, is made. -EROFS, -EACCES: it cannot
 * be made; -EBUSY: a mount is there already. */
int delivery_attach_inside(struct delivery *delivery, int init, const char *target,
	const struct delivery *covered, bool make_target, delivery_done_function *on_done);
/* Takes it away from there again. */
int delivery_detach_inside(
	struct delivery *delivery, int init, const char *target, delivery_done_function *on_done);
int delivery_wipe(struct delivery *delivery, delivery_done_function *on_done);
/* ENGINE: its pidfd, or -1. It is needed when the mounter that has wiped the delivery is dead. */
int delivery_forget(struct delivery *delivery, int engine, delivery_done_function *on_done);

/* Takes up what a dead mounter (or broker) has left. INIT: pidfd of the container's init, or -1 if
 * it is still on the host path; ENGINE: pidfd of the engine, or -1 when unknown. device,
 * generation, is_plain and located.mount_id say what it was. */
int delivery_adopt(struct delivery *delivery, uint32_t group, int init, int engine,
	const char *target, delivery_done_function *on_done);
