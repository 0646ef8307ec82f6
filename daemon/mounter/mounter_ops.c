#include "daemon/mounter/mounter_ops.h"

#include "daemon/mounter/arena.h"
#include "daemon/mounter/container_entry.h"
#include "daemon/mounter/deliveries.h"
#include "daemon/mounter/guard_marks.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "daemon/mounter/kernel/mount_table.h"
#include "daemon/mounter/kernel/namespaces.h"
#include "daemon/mounter/tmpfs_mount.h"
#include "daemon/mounter/worker.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PHASE_ANY_LIVE	    (PHASE_MADE | PHASE_MARKED | PHASE_ATTACHED | PHASE_LOCATED | PHASE_RELEASED)
#define PHASE_BEFORE_ATTACH (PHASE_MADE | PHASE_MARKED)
#define PHASE_KEEP	    0 /* success leaves the phase as it is */

void delivery_hex(const uint8_t *id, char hex[DELIVERY_HEX_SIZE])
{
	for (size_t i = 0; i < DELIVERY_ID_BYTES; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", id[i]);
}

int reply_fail(struct mounter_reply *reply, int code, const char *detail)
{
	(void)snprintf(reply->detail, sizeof reply->detail, "%s", detail);
	return code;
}

static int on_probe(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const struct kernel_abilities *has = &job->mounter->has;

	(void)ret_fd;
	reply->flags = (has->open_guard ? MOUNTER_HAS_OPEN_GUARD : 0) |
		       (has->noswap ? MOUNTER_HAS_NOSWAP : 0) |
		       (has->unique_mount_id ? MOUNTER_HAS_UNIQUE_MOUNT_ID : 0);
	reply->values[0] = job->mounter->groups_count;
	return 0;
}

static int on_make(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct delivery *delivery = job->delivery;
	char name[DELIVERY_HEX_SIZE];
	struct mount_facts facts;
	int r;

	(void)ret_fd;
	delivery_hex(delivery->id, name);
	r = tmpfs_make(job->mounter, name, job->request->size_bytes, job->request->inodes,
		job->request->flags & MOUNTER_LAYOUT_PLAIN);
	if (r < 0)
		return reply_fail(reply, r,
			r == -EOPNOTSUPP ? "the kernel would swap secrets out (no tmpfs noswap, "
					   "and swap is on)"
					 : "make a tmpfs");
	delivery->mount = r;
	r = mount_facts_get(delivery->mount, &facts);
	if (r < 0)
		return reply_fail(reply, r, "look at the new tmpfs");
	delivery->device = facts.device;
	delivery->is_plain = job->request->flags & MOUNTER_LAYOUT_PLAIN;
	reply->device = facts.device;
	return 0;
}

static int mark(const struct job *job, uint32_t group)
{
	int r;

	job->delivery->group = group;
	r = guard_mark(job->mounter, job->delivery);
	job->delivery->is_marked = job->delivery->is_marked || r == 0;
	return r;
}

static int on_mark(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	int r;

	job->delivery->sees_closes = job->request->flags & MOUNTER_SEE_CLOSES;
	r = mark(job, job->request->group);

	(void)ret_fd;
	return r < 0 ? reply_fail(reply, r, "mark the tmpfs") : 0;
}

static int on_unseal(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const int r = superblock_set_read_only(job->delivery->mount, false);

	(void)ret_fd;
	return r < 0 ? reply_fail(reply, r, "unseal the tmpfs") : 0;
}

static int on_seal(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const int r = superblock_set_read_only(job->delivery->mount, true);

	(void)ret_fd;
	return r < 0 ? reply_fail(reply, r, "seal the tmpfs") : 0;
}

static int on_deadline(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	(void)reply;
	(void)ret_fd;
	deadline_set(job->mounter, job->delivery, (int64_t)job->request->deadline_ms);
	return 0;
}

/* Leaving the host path comes last: until the marks have changed hands the delivery is guarded as
 * before. */
static int on_retreat(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct delivery *delivery = job->delivery;
	const bool keep_guard = (job->request->flags & MOUNTER_KEEP_GUARD) || delivery->target < 0;
	int r = 0;

	delivery->sees_closes = job->request->flags & MOUNTER_SEE_CLOSES;
	if (!delivery->is_marked && (job->request->flags & MOUNTER_KEEP_GUARD) &&
		job->mounter->has.open_guard)
		/* It was released without a guard, and gets one. */
		r = mark(job, job->mounter->groups_count - 1);
	else if (delivery->is_marked)
		r = guard_retreat(job->mounter, delivery, !keep_guard);
	if (r < 0)
		return reply_fail(reply, r, "hand the marks over");
	delivery->group = job->mounter->groups_count - 1;
	if (delivery->target >= 0)
		(void)close(fd_take(&delivery->target));
	return job_detach(job, reply, ret_fd);
}

static int look_at_mounts(
	const struct job *job, const struct namespaces *init, struct mounter_reply *reply)
{
	const int pid = process_id(job->mounter->proc, job->descriptors.init);
	struct mount_table_facts facts;

	if (pid < 0)
		return reply_fail(reply, pid, "look at the init's mounts");
	facts = mount_table_look(job->mounter->proc, pid);
	if (facts.has_writable_cgroup)
		reply->flags |= MOUNTER_WRITABLE_CGROUP;
	if (facts.root_is_read_only)
		reply->flags |= MOUNTER_ROOT_READ_ONLY;
	reply->flags |= container_namespace_flags(job, init);
	/* The same process still: its number was read before. */
	return process_id(job->mounter->proc, job->descriptors.init) == pid
		       ? 0
		       : reply_fail(reply, -ESRCH, "look at the init's mounts");
}

static int on_compare(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces init, other;
	int r = namespaces_of(job->mounter->proc, job->descriptors.init, &init);

	(void)ret_fd;
	if (r == 0)
		r = namespaces_of(job->mounter->proc, job->descriptors.other, &other);
	if (r < 0)
		return reply_fail(reply, r, "compare namespaces");
	if (init.mount == other.mount)
		reply->flags |= MOUNTER_SAME_MOUNT_NAMESPACE;
	if (init.pid == other.pid)
		reply->flags |= MOUNTER_SAME_PID_NAMESPACE;
	return job->request->flags & MOUNTER_LOOK_AT_MOUNTS ? look_at_mounts(job, &init, reply) : 0;
}

/* What a grant may name (docs/schema/policy.schema.json): nothing that stops or traces a process. */
static bool is_telling(uint32_t signal)
{
	static const uint32_t tellings[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGTERM, SIGQUIT,
		SIGWINCH, SIGALRM, SIGCONT };

	for (size_t i = 0; i < sizeof tellings / sizeof tellings[0]; i++)
		if (tellings[i] == signal)
			return true;
	return false;
}

static int on_signal(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces init, other;
	int r = namespaces_of(job->mounter->proc, job->descriptors.init, &init);

	(void)ret_fd;
	if (r == 0)
		r = namespaces_of(job->mounter->proc, job->descriptors.other, &other);
	if (r < 0)
		return reply_fail(reply, r, "look at the process");
	/* Safe because nothing outside of a container's own pid namespace can be meant. */
	if (init.pid == job->mounter->pid_namespace || other.pid != init.pid)
		return reply_fail(reply, -EPERM,
			"the process is in the host's pid namespace, or in "
			"another than the container's init");
	if (pidfd_signal(job->descriptors.other, (int)job->request->mode) != 0)
		return reply_fail(reply, -errno, "send the signal");
	return 0;
}

/* The arena still has it unless every process of ours was dead; then it is looked for in the
 * container. */
static int on_adopt(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	char name[DELIVERY_HEX_SIZE];
	struct mount_facts facts;
	AUTO_FD own = -1;
	int r;

	delivery_hex(job->delivery->id, name);
	own = arena_open(job->mounter, name);
	r = own < 0 ? own : mount_facts_get(own, &facts);
	if (r < 0)
		return r;
	if (facts.device != job->request->device)
		return reply_fail(reply, -ESTALE, "the arena has another tmpfs under this id");
	*ret_fd = fd_take(&own);
	return 0;
}

enum where {
	HERE,			/* in the mounter: touches nothing that a container can reach */
	HERE_IF_DETACHED,	/* ... before the delivery is attached, else in a worker */
	HERE_IF_HOST_NAMESPACE, /* ... when the engine's mount namespace is ours, else in a worker
				 */
	IN_WORKER,
};

/* The privileged boundary. Long because it is a table: one row for each operation. */
static const struct operation {
	enum mounter_op op;
	unsigned allowed_in; /* phases that may ask for it; 0: it concerns no delivery */
	unsigned next;	     /* phase after success */
	enum where where;
	size_t descriptors; /* pidfds that must come with the request */
	job_function *run;
} operations[MOUNTER_OP_COUNT] = {
	/* Safe: says what was found out at start. */
	[MOUNTER_OP_PROBE] = { MOUNTER_OP_PROBE, 0, PHASE_KEEP, HERE, 0, on_probe },
	/* Safe: a detached tmpfs is reachable by nobody but the descriptor's holder. */
	[MOUNTER_OP_MAKE] = { MOUNTER_OP_MAKE, PHASE_EMPTY, PHASE_MADE, HERE, 0, on_make },
	/* Safe: names are checked, opened beneath the tmpfs, following nothing; the files have no
	   content. */
	[MOUNTER_OP_FILE] = { MOUNTER_OP_FILE, PHASE_ANY_LIVE, PHASE_KEEP, HERE_IF_DETACHED, 0,
		job_file },
	[MOUNTER_OP_COMMIT] = { MOUNTER_OP_COMMIT, PHASE_ANY_LIVE, PHASE_KEEP, HERE_IF_DETACHED, 0,
		job_commit },
	/* Safe: from here on nobody opens a file without being asked for. */
	[MOUNTER_OP_MARK] = { MOUNTER_OP_MARK, PHASE_MADE, PHASE_MARKED, HERE, 0, on_mark },
	/* Safe: the place is derived from the id below the volumes directory, never sent. */
	[MOUNTER_OP_ATTACH] = { MOUNTER_OP_ATTACH, PHASE_BEFORE_ATTACH, PHASE_ATTACHED,
		HERE_IF_HOST_NAMESPACE, 1, job_attach },
	/* Safe: changes our own superblock only. */
	[MOUNTER_OP_SEAL] = { MOUNTER_OP_SEAL, PHASE_ANY_LIVE, PHASE_KEEP, HERE, 0, on_seal },
	/* Safe: what a container sees is read-only by its own mount as well. */
	[MOUNTER_OP_UNSEAL] = { MOUNTER_OP_UNSEAL, PHASE_ANY_LIVE, PHASE_KEEP, HERE, 0, on_unseal },
	/* Safe: as WIPE, but for one generation. */
	[MOUNTER_OP_CLEAN] = { MOUNTER_OP_CLEAN, PHASE_ANY_LIVE, PHASE_KEEP, IN_WORKER, 0,
		job_clean },
	/* Safe: as WIPE, but for one file. */
	[MOUNTER_OP_TAKE] = { MOUNTER_OP_TAKE, PHASE_ANY_LIVE, PHASE_KEEP, IN_WORKER, 0, job_take },
	/* Safe: a number; what it leads to is WIPE. */
	[MOUNTER_OP_DEADLINE] = { MOUNTER_OP_DEADLINE, PHASE_ANY_LIVE, PHASE_KEEP, HERE, 0,
		on_deadline },
	/* Safe: looks, in the container's mount namespace, and changes nothing there. */
	[MOUNTER_OP_LOCATE] = { MOUNTER_OP_LOCATE, PHASE_ATTACHED | PHASE_LOCATED | PHASE_RELEASED,
		PHASE_LOCATED, IN_WORKER, 1, job_locate },
	/* Safe: the superblock stays marked; only the container's own mount is exempted. */
	[MOUNTER_OP_RETREAT] = { MOUNTER_OP_RETREAT, PHASE_LOCATED, PHASE_RELEASED,
		HERE_IF_HOST_NAMESPACE, 0, on_retreat },
	/* Safe: our own tmpfs, read-only, onto a directory of that container, never in the host's
	   namespace. */
	[MOUNTER_OP_ATTACH_INSIDE] = { MOUNTER_OP_ATTACH_INSIDE, PHASE_BEFORE_ATTACH,
		PHASE_RELEASED, IN_WORKER, 1, job_attach_inside },
	/* Safe: only the mount of the id that was attached there, in that container. */
	[MOUNTER_OP_DETACH_INSIDE] = { MOUNTER_OP_DETACH_INSIDE, PHASE_RELEASED | PHASE_WIPED,
		PHASE_KEEP, IN_WORKER, 1, job_detach_inside },
	/* Safe: removes only what is inside our own tmpfs, through our own mount. */
	[MOUNTER_OP_WIPE] = { MOUNTER_OP_WIPE, PHASE_ANY_LIVE, PHASE_WIPED, IN_WORKER, 0,
		job_wipe },
	/* Safe: rmdir of the derived directory; refused by the kernel when it is not empty. */
	[MOUNTER_OP_FORGET] = { MOUNTER_OP_FORGET, PHASE_WIPED | PHASE_EMPTY, PHASE_EMPTY,
		HERE_IF_HOST_NAMESPACE, 0, job_forget },
	/* Safe: reads namespace numbers. */
	[MOUNTER_OP_COMPARE] = { MOUNTER_OP_COMPARE, 0, PHASE_KEEP, HERE, 2, on_compare },
	/* Safe: one of a few signals, to a process of that container, never to one of the host's. */
	[MOUNTER_OP_SIGNAL] = { MOUNTER_OP_SIGNAL, 0, PHASE_KEEP, HERE, 2, on_signal },
	/* Safe: an O_PATH descriptor gives its holder no right that its own uid has not. */
	[MOUNTER_OP_ENGINE_ROOT] = { MOUNTER_OP_ENGINE_ROOT, 0, PHASE_KEEP, IN_WORKER, 1,
		job_engine_root },
	/* Safe: only what lies in the arena, which only mounters have filled. */
	[MOUNTER_OP_SWEEP] = { MOUNTER_OP_SWEEP, 0, PHASE_KEEP, IN_WORKER, 0, job_sweep },
	/* Safe: takes up only what lies in the arena, or a tmpfs in a container that bears this
	   delivery's mark. */
	[MOUNTER_OP_ADOPT] = { MOUNTER_OP_ADOPT, PHASE_EMPTY, PHASE_ATTACHED, HERE, 0, on_adopt },
};

static bool name_is_clean(const char name[MAYFLY_FILE_PATH_SIZE])
{
	bool at_start = true;

	if (!memchr(name, '\0', MAYFLY_FILE_PATH_SIZE))
		return false;
	for (const char *c = name; *c; c++) {
		if (at_start &&
			(*c == '/' || (c[0] == '.' && (c[1] == '/' || c[1] == '\0')) ||
				(c[0] == '.' && c[1] == '.' && (c[2] == '/' || c[2] == '\0'))))
			return false;
		at_start = *c == '/';
	}
	return true;
}

/* What FILE may create: nothing hidden, but a generation's own description and a decoy's only file.
 */
static bool file_name_is_clean(const char *name)
{
	if (strcmp(name, ".mayfly.json") == 0 || strcmp(name, ".mayfly") == 0)
		return true;
	return name[0] != '\0' && name[0] != '.' && !strstr(name, "/.") &&
	       name[strlen(name) - 1] != '/';
}

bool mounter_request_is_sane(const struct mounter_request *request, uint32_t groups_count)
{
	if (request->op == MOUNTER_OP_INVALID || request->op >= MOUNTER_OP_COUNT)
		return false;
	if (!name_is_clean(request->name))
		return false;
	if (request->deadline_ms > INT64_MAX)
		return false;
	if (request->op == MOUNTER_OP_TAKE && !file_name_is_clean(request->name))
		return false;
	if (request->op == MOUNTER_OP_FILE &&
		(!file_name_is_clean(request->name) || request->size_bytes == 0 ||
			(request->mode & ~0777u)))
		return false;
	if (request->op == MOUNTER_OP_MARK && request->group >= groups_count)
		return false;
	if (request->op == MOUNTER_OP_SIGNAL && !is_telling(request->mode))
		return false;
	/* Two generations, and what tmpfs needs for itself. */
	return request->size_bytes <= 2ull * MAYFLY_DELIVERY_MAX_BYTES + 4 * 1024 * 1024 &&
	       request->inodes <= 8 * MAYFLY_DELIVERY_MAX_FILES + 64;
}

/* The delivery's slot for an operation that may begin one. */
static struct delivery *slot_for(struct mounter *mounter, const struct mounter_request *request)
{
	struct delivery *delivery = delivery_find(mounter, request->delivery);

	if (delivery || !(operations[request->op].allowed_in & PHASE_EMPTY))
		return delivery;
	return delivery_add(mounter, request->delivery);
}

/* Why REQUEST may not be carried out now, or 0. */
static int refusal(const struct operation *operation, const struct delivery *delivery,
	const struct request_descriptors *descriptors)
{
	if (operation->descriptors > 0 && descriptors->init < 0)
		return -EBADF;
	if (operation->descriptors > 1 && descriptors->other < 0)
		return -EBADF;
	if (operation->allowed_in == 0)
		return 0;
	if (!delivery)
		return (operation->allowed_in & PHASE_EMPTY) ? -ENOSPC : -ENOENT;
	if (delivery->is_busy && operation->op != MOUNTER_OP_DEADLINE)
		return -EBUSY;
	return (operation->allowed_in & delivery->phase) ? 0 : -EPROTO;
}

static bool runs_here(const struct operation *operation, const struct delivery *delivery)
{
	switch (operation->where) {
	case HERE:
		return true;
	case HERE_IF_DETACHED:
		return delivery->phase & PHASE_BEFORE_ATTACH;
	case HERE_IF_HOST_NAMESPACE:
		return delivery->engine_namespace < 0;
	case IN_WORKER:
		break;
	}
	return false;
}

/* Where the engine is decides where the host path is; it is kept for everything that follows. */
static int note_engine(const struct job *job)
{
	const struct request_descriptors *descriptors = &job->descriptors;

	if (job->request->op == MOUNTER_OP_ATTACH)
		return delivery_note_engine(job->mounter, job->delivery, descriptors->init);
	if ((job->request->op == MOUNTER_OP_ADOPT || job->request->op == MOUNTER_OP_FORGET) &&
		(job->request->flags & MOUNTER_WITH_ENGINE))
		return delivery_note_engine(job->mounter, job->delivery,
			descriptors->other >= 0 ? descriptors->other : descriptors->init);
	return 0;
}

static int run_here(const struct operation *operation, const struct job *job,
	struct mounter_reply *reply, int *ret_fd)
{
	const int r = operation->run(job, reply, ret_fd);

	if (operation->where == HERE_IF_HOST_NAMESPACE)
		host_namespace_leave(job->mounter);
	return r;
}

static int list_strays(struct mounter *mounter)
{
	mounter->strays_count = arena_strays(mounter, mounter->strays, STRAYS_MAX);
	return mounter->strays_count < 0 ? mounter->strays_count : 0;
}

static int run_or_start(const struct operation *operation, const struct job *job,
	struct mounter_reply *reply, int *ret_fd, bool *ret_here)
{
	job_function *function = operation->run;
	int r = note_engine(job);

	if (r < 0)
		return reply_fail(reply, r, "find the engine's mount namespace");
	*ret_here = runs_here(operation, job->delivery);
	if (*ret_here)
		r = run_here(operation, job, reply, ret_fd);
	if (r == -ENOENT && operation->op == MOUNTER_OP_ADOPT && job->descriptors.init >= 0) {
		*ret_here = false;
		function = job_adopt;
	}
	if (*ret_here)
		return r;
	if (operation->op == MOUNTER_OP_SWEEP && list_strays(job->mounter) < 0)
		return reply_fail(reply, job->mounter->strays_count, "look through the arena");
	r = worker_start(job->mounter, job, function);
	return r < 0 ? reply_fail(reply, r, "start a worker") : 0;
}

bool mounter_request_run(struct mounter *mounter, const struct mounter_request *request,
	const struct request_descriptors *descriptors, struct mounter_reply *reply, int *ret_fd)
{
	const struct operation *operation = &operations[request->op];
	struct job job = { .mounter = mounter, .request = request, .descriptors = *descriptors };
	bool is_here = true;
	int r;

	if (operation->allowed_in != 0)
		job.delivery = slot_for(mounter, request);
	r = refusal(operation, job.delivery, descriptors);
	if (r < 0)
		r = reply_fail(reply, r, "not in this phase, unknown, or without its descriptor");
	else
		r = run_or_start(operation, &job, reply, ret_fd, &is_here);
	if (r == 0 && !is_here)
		return false;
	reply->status = r;
	mounter_settle(mounter, request, job.delivery, reply, ret_fd);
	return true;
}

void mounter_settle(struct mounter *mounter, const struct mounter_request *request,
	struct delivery *delivery, struct mounter_reply *reply, int *ret_fd)
{
	const struct operation *operation = &operations[request->op];

	reply->op = request->op;
	reply->serial = request->serial;
	if (!delivery) {
		memcpy(reply->delivery, request->delivery, DELIVERY_ID_BYTES);
		return;
	}
	if (reply->status == 0)
		delivery_apply(mounter, delivery, request, reply, ret_fd);
	if (reply->status == 0 && operation->next != PHASE_KEEP)
		delivery->phase = operation->next;
	delivery_describe(delivery, reply);
	if (delivery->phase == PHASE_EMPTY)
		delivery_free(mounter, delivery);
}
