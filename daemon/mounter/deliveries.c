#include "daemon/mounter/deliveries.h"

#include "daemon/mounter/arena.h"
#include "daemon/mounter/guard_marks.h"
#include "daemon/mounter/namespaces.h"
#include "daemon/mounter/tmpfs_mount.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Ids are random, so any eight bytes of one are a hash of it. Linear probing; a freed slot keeps
 * its id as a tombstone until it is used again. */
static size_t place_of(const uint8_t *id)
{
	uint64_t hash;

	memcpy(&hash, id, sizeof hash);
	return hash % MOUNTER_MAX_DELIVERIES;
}

static bool was_never_used(const struct delivery *slot)
{
	static const uint8_t zero[DELIVERY_ID_BYTES];

	return slot->phase == 0 && memcmp(slot->id, zero, sizeof zero) == 0;
}

struct delivery *delivery_find(const struct mounter *mounter, const uint8_t *id)
{
	const size_t start = place_of(id);

	for (size_t i = 0; i < MOUNTER_MAX_DELIVERIES; i++) {
		struct delivery *slot = &mounter->deliveries[(start + i) % MOUNTER_MAX_DELIVERIES];

		if (slot->phase != 0 && memcmp(slot->id, id, DELIVERY_ID_BYTES) == 0)
			return slot;
		if (was_never_used(slot))
			return NULL;
	}
	return NULL;
}

struct delivery *delivery_add(struct mounter *mounter, const uint8_t *id)
{
	const size_t start = place_of(id);

	for (size_t i = 0; i < MOUNTER_MAX_DELIVERIES; i++) {
		struct delivery *slot = &mounter->deliveries[(start + i) % MOUNTER_MAX_DELIVERIES];

		if (slot->phase != 0)
			continue;
		*slot = (struct delivery){
			.phase = PHASE_EMPTY, .mount = -1, .target = -1, .engine_namespace = -1
		};
		memcpy(slot->id, id, DELIVERY_ID_BYTES);
		return slot;
	}
	return NULL;
}

void delivery_free(struct delivery *delivery)
{
	fd_close_p(&delivery->mount);
	fd_close_p(&delivery->target);
	fd_close_p(&delivery->engine_namespace);
	delivery->phase = 0;
	delivery->is_busy = false;
}

int delivery_note_engine(struct mounter *mounter, struct delivery *delivery, int engine)
{
	struct namespaces found;
	int r;

	r = namespaces_of(mounter->proc, engine, &found);
	if (r < 0)
		return r;
	if (found.mount == mounter->mount_namespace)
		return 0;
	/* A pidfd would name the engine's process, which may be restarted; its namespace stays. */
	r = mount_namespace_open(mounter->proc, engine);
	if (r < 0)
		return r;
	fd_close_p(&delivery->engine_namespace);
	delivery->engine_namespace = r;
	return 0;
}

/* An adopted delivery is marked again before anything else happens to it; one that comes from its
 * container also gets its place in the arena again. */
static int apply_adopt(struct mounter *mounter, struct delivery *delivery,
	const struct mounter_request *request, struct mounter_reply *reply, int *fd)
{
	char name[DELIVERY_HEX_SIZE];
	AUTO_FD known = -1;
	int r = 0;

	delivery_hex(delivery->id, name);
	known = arena_open(mounter, name);
	if (known < 0)
		r = arena_attach(mounter, name, *fd);
	if (r < 0)
		return reply_fail(reply, r, "give the delivery its place");

	delivery->mount = fd_take(fd);
	delivery->device = request->device;
	delivery->mount_id = request->mount_id;
	delivery->generation = request->generation;
	delivery->is_attached = request->flags & MOUNTER_ON_HOST_PATH;
	delivery->is_plain = request->flags & MOUNTER_LAYOUT_PLAIN;
	if (request->group < mounter->groups_count) {
		delivery->group = request->group;
		delivery->is_marked = true;
		r = guard_mark(mounter, delivery);
	}
	return r < 0 ? reply_fail(reply, r, "mark the adopted tmpfs") : 0;
}

static void apply_wipe(struct mounter *mounter, struct delivery *delivery)
{
	char name[DELIVERY_HEX_SIZE];

	delivery->is_attached = false;
	delivery_hex(delivery->id, name);
	arena_remove(mounter, name);
	/* The last mount of ours: what a container still holds has no content any more. */
	fd_close_p(&delivery->mount);
	fd_close_p(&delivery->target);
}

void delivery_apply(struct mounter *mounter, struct delivery *delivery,
	const struct mounter_request *request, struct mounter_reply *reply, int *fd)
{
	switch ((enum mounter_op)request->op) {
	case MOUNTER_OP_COMMIT:
		delivery->generation = request->generation;
		break;
	case MOUNTER_OP_ATTACH:
		delivery->is_attached = true;
		break;
	case MOUNTER_OP_LOCATE:
		delivery->mount_id = reply->mount_id;
		fd_close_p(&delivery->target);
		delivery->target = fd_take(fd);
		break;
	case MOUNTER_OP_ATTACH_INSIDE:
		delivery->mount_id = reply->mount_id;
		break;
	case MOUNTER_OP_RETREAT:
		delivery->is_attached = false;
		break;
	case MOUNTER_OP_WIPE:
		apply_wipe(mounter, delivery);
		break;
	case MOUNTER_OP_ADOPT:
		reply->status = apply_adopt(mounter, delivery, request, reply, fd);
		break;
	default:
		break;
	}
}

void delivery_describe(const struct delivery *delivery, struct mounter_reply *reply)
{
	memcpy(reply->delivery, delivery->id, DELIVERY_ID_BYTES);
	reply->phase = delivery->phase;
	reply->generation = delivery->generation;
	reply->group = delivery->group;
	reply->mount_id = delivery->mount_id;
	reply->device = delivery->device;
}
