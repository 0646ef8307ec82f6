#include "daemon/mounter/deliveries.h"

#include "daemon/mounter/arena.h"
#include "daemon/mounter/guard_marks.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "daemon/mounter/kernel/namespaces.h"
#include "daemon/mounter/tmpfs_mount.h"
#include "daemon/mounter/worker.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_MS 20 /* between looks at one that could not be wiped yet */

/* Slots are dense, so that a few deliveries touch a few pages; the index finds them. Ids are
 * random: any eight bytes of one are a hash of it. Linear probing. */
static size_t place_of(const uint8_t *id)
{
	uint64_t hash;

	memcpy(&hash, id, sizeof hash);
	return hash % DELIVERY_INDEX_SIZE;
}

/* Where ID stands in the index, or the free place where it would. The index is never full. */
static size_t probe(const struct mounter *mounter, const uint8_t *id)
{
	size_t place = place_of(id);

	while (mounter->delivery_index[place] != 0 &&
		memcmp(mounter->deliveries[mounter->delivery_index[place] - 1].id, id,
			DELIVERY_ID_BYTES) != 0)
		place = (place + 1) % DELIVERY_INDEX_SIZE;
	return place;
}

struct delivery *delivery_find(const struct mounter *mounter, const uint8_t *id)
{
	const uint16_t slot = mounter->delivery_index[probe(mounter, id)];

	return slot ? &mounter->deliveries[slot - 1] : NULL;
}

struct delivery *delivery_add(struct mounter *mounter, const uint8_t *id)
{
	uint16_t slot = 0;

	while (slot < MOUNTER_MAX_DELIVERIES && mounter->deliveries[slot].phase != 0)
		slot++;
	if (slot == MOUNTER_MAX_DELIVERIES)
		return NULL;
	mounter->deliveries[slot] = (struct delivery){
		.phase = PHASE_EMPTY, .mount = -1, .target = -1, .engine_namespace = -1
	};
	memcpy(mounter->deliveries[slot].id, id, DELIVERY_ID_BYTES);
	mounter->delivery_index[probe(mounter, id)] = (uint16_t)(slot + 1);
	return &mounter->deliveries[slot];
}

/* Takes what follows a removed entry, up to the next free place, out of the index and puts it in
 * again. */
static void close_gap(struct mounter *mounter, size_t gap)
{
	mounter->delivery_index[gap] = 0;
	for (size_t place = (gap + 1) % DELIVERY_INDEX_SIZE; mounter->delivery_index[place] != 0;
		place = (place + 1) % DELIVERY_INDEX_SIZE) {
		const uint16_t slot = mounter->delivery_index[place];

		mounter->delivery_index[place] = 0;
		mounter->delivery_index[probe(mounter, mounter->deliveries[slot - 1].id)] = slot;
	}
}

void delivery_free(struct mounter *mounter, struct delivery *delivery)
{
	fd_close_p(&delivery->mount);
	fd_close_p(&delivery->target);
	fd_close_p(&delivery->engine_namespace);
	close_gap(mounter, probe(mounter, delivery->id));
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
	delivery->sees_closes = request->flags & MOUNTER_SEE_CLOSES;
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
	if (delivery->mount >= 0 && !superblock_is_read_only(delivery->mount))
		reply->flags |= MOUNTER_UNSEALED;
}

/* --- deadlines --- */

static int64_t due_ms(const struct mounter *mounter, const struct delivery *delivery)
{
	return delivery->deadline_ms + (mounter->broker >= 0 ? DEADLINE_GRACE_MS : 0);
}

static void note_next(struct mounter *mounter, int64_t at_ms)
{
	if (!mounter->next_deadline_ms || at_ms < mounter->next_deadline_ms)
		mounter->next_deadline_ms = at_ms;
}

void deadline_set(struct mounter *mounter, struct delivery *delivery, int64_t deadline_ms)
{
	delivery->deadline_ms = deadline_ms;
	/* Without the grace: a broker may be gone by then. */
	if (deadline_ms)
		note_next(mounter, deadline_ms);
}

static void wipe(struct mounter *mounter, struct delivery *delivery)
{
	const struct mounter_request request = { .op = MOUNTER_OP_WIPE };
	const struct job job = { .mounter = mounter,
		.delivery = delivery,
		.request = &request,
		.descriptors = { -1, -1 } };
	char name[DELIVERY_HEX_SIZE];

	delivery_hex(delivery->id, name);
	if (worker_start_own(mounter, &job, job_wipe) == 0)
		log_warning("delivery %.12s: its hard end is over and nobody has emptied it; "
			    "emptying it",
			name);
}

void deadlines_look(struct mounter *mounter, int64_t now_ms)
{
	if (!mounter->next_deadline_ms || now_ms < mounter->next_deadline_ms)
		return;
	mounter->next_deadline_ms = 0;
	for (size_t i = 0; i < MOUNTER_MAX_DELIVERIES; i++) {
		struct delivery *delivery = &mounter->deliveries[i];

		if (delivery->phase == 0 || delivery->phase == PHASE_EMPTY ||
			delivery->phase == PHASE_WIPED || !delivery->deadline_ms)
			continue;
		if (now_ms < delivery->deadline_ms) {
			note_next(mounter, delivery->deadline_ms);
			continue;
		}
		if (now_ms >= due_ms(mounter, delivery) && !delivery->is_busy)
			wipe(mounter, delivery);
		/* Until it is wiped; a broker may go, or a worker come free, any time. */
		note_next(mounter, now_ms + AGAIN_MS);
	}
}

int deadlines_wait_ms(const struct mounter *mounter, int64_t now_ms, int max_ms)
{
	int64_t left_ms;

	if (!mounter->next_deadline_ms)
		return max_ms;
	left_ms = mounter->next_deadline_ms - now_ms;
	if (left_ms < 0)
		left_ms = 0;
	return left_ms < max_ms ? (int)left_ms : max_ms;
}
