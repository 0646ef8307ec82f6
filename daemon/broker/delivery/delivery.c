#include "daemon/broker/delivery/delivery.h"

#include "daemon/broker/loop/handle_group.h"
#include "proto/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A cap, not a reservation: two generations of the largest delivery, and room for the tmpfs itself.
 */
#define TMPFS_BYTES  (2ull * MAYFLY_DELIVERY_MAX_BYTES + 1024 * 1024)
#define TMPFS_INODES (8 * MAYFLY_DELIVERY_MAX_FILES)

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int delivery_init(struct delivery *delivery, const char *hex, struct mounter_link *mounter)
{
	*delivery = (struct delivery){ .mounter = mounter, .phase = PHASE_EMPTY };
	if (strlen(hex) != DELIVERY_HEX_LENGTH)
		return -EINVAL;
	for (size_t i = 0; i < DELIVERY_ID_BYTES; i++) {
		const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		delivery->id[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(delivery->hex, hex, sizeof delivery->hex);
	return 0;
}

void delivery_init_random(struct delivery *delivery, struct mounter_link *mounter)
{
	*delivery = (struct delivery){ .mounter = mounter, .phase = PHASE_EMPTY };
	randombytes_buf(delivery->id, sizeof delivery->id);
	(void)sodium_bin2hex(
		delivery->hex, sizeof delivery->hex, delivery->id, sizeof delivery->id);
}

void delivery_files_free(struct delivery_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		held_value_done(&files[i].value);
		fd_close_p(&files[i].writer);
	}
	free(files);
}

void delivery_set_files(struct delivery *delivery, struct delivery_file *files, size_t count)
{
	delivery_files_free(delivery->files, delivery->files_count);
	delivery->files = files;
	delivery->files_count = count;
	for (size_t i = 0; i < count; i++)
		files[i].writer = -1;
}

struct delivery_operation {
	struct delivery *delivery;
	delivery_done_function *on_done;
	size_t replies_open, next_file;
	int status;
	char detail[160];
	/* of delivery_write() */
	struct work_item work;
	const struct value_keeper *keeper;
};

void delivery_done(struct delivery *delivery)
{
	assert(!delivery->operation);
	delivery_set_files(delivery, NULL, 0);
}

bool delivery_is_busy(const struct delivery *delivery)
{
	return delivery->operation != NULL;
}

static struct mounter_request request_for(const struct delivery *delivery, enum mounter_op op)
{
	struct mounter_request request = { .op = op, .generation = delivery->generation };

	memcpy(request.delivery, delivery->id, DELIVERY_ID_BYTES);
	return request;
}

static int begin(struct delivery *delivery, delivery_done_function *on_done)
{
	assert(!delivery->operation);
	delivery->operation = calloc(1, sizeof *delivery->operation);
	if (!delivery->operation)
		return -ENOMEM;
	delivery->operation->delivery = delivery;
	delivery->operation->on_done = on_done;
	return 0;
}

static void finish(struct delivery *delivery)
{
	AUTO_FREE struct delivery_operation *operation = ptr_take(&delivery->operation);

	/* The delivery may be gone when this returns. */
	operation->on_done(delivery, operation->status, operation->detail);
}

/* Nothing was sent: the caller is told, the completion never comes. */
static int cancel(struct delivery *delivery, int code)
{
	free(ptr_take(&delivery->operation));
	return code;
}

static void note_failure(struct delivery *delivery, int status, const char *detail)
{
	struct delivery_operation *operation = delivery->operation;

	if (operation->status == 0) {
		operation->status = status;
		(void)snprintf(operation->detail, sizeof operation->detail, "%s: %s", detail,
			strerrordesc_np(-status));
	}
}

/* The file that a FILE reply is about: they are sent and answered in order. */
static void take_writer(struct delivery *delivery, int fd)
{
	struct delivery_operation *operation = delivery->operation;

	struct stat status;

	if (operation->next_file == delivery->files_count) {
		fd_close_p(&fd);
		return;
	}
	if (fstat(fd, &status) == 0)
		delivery->files[operation->next_file].inode = status.st_ino;
	delivery->files[operation->next_file++].writer = fd;
}

static void note_reply(struct delivery *delivery, const struct mounter_reply *reply, int fd)
{
	if (reply->status < 0)
		note_failure(delivery, reply->status, reply->detail);
	else if (reply->op == MOUNTER_OP_FILE)
		take_writer(delivery, fd_take(&fd));
	else if (reply->op == MOUNTER_OP_MAKE)
		delivery->device = reply->device;
	else if (reply->op == MOUNTER_OP_LOCATE || reply->op == MOUNTER_OP_ATTACH_INSIDE)
		delivery->located = (struct located){
			.mount_id = reply->mount_id,
			.mount_namespace = reply->mount_namespace,
			.pid_namespace = reply->pid_namespace,
			.flags = reply->flags,
		};
	if (reply->phase)
		delivery->phase = reply->phase;
	delivery->is_unsealed = reply->flags & MOUNTER_UNSEALED;
	fd_close_p(&fd);
}

static void on_reply(const struct mounter_reply *reply, int fd, void *data)
{
	struct delivery *delivery = data;

	note_reply(delivery, reply, fd);
	if (--delivery->operation->replies_open == 0)
		finish(delivery);
}

/* Sends one request of the operation under way. */
static int send_request(
	struct delivery *delivery, struct mounter_request *request, const int *fds, size_t count)
{
	const int r = mounter_link_send(delivery->mounter, request, fds, count, on_reply, delivery);

	if (r == 0)
		delivery->operation->replies_open++;
	return r;
}

/* One request that is the whole operation. */
static int send_alone(struct delivery *delivery, struct mounter_request *request, const int *fds,
	size_t count, delivery_done_function *on_done)
{
	int r = begin(delivery, on_done);

	if (r == 0)
		r = send_request(delivery, request, fds, count);
	return r < 0 ? cancel(delivery, r) : 0;
}

static struct mounter_request request_for_file(
	const struct delivery *delivery, const struct delivery_file *file)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_FILE);

	request.uid = file->uid;
	request.gid = file->gid;
	request.mode = file->mode;
	request.size_bytes = file->value.length;
	memcpy(request.name, file->path, sizeof request.name);
	return request;
}

/* MAKE, FILE ..., COMMIT: what nobody can reach yet is asked for at one go. */
static int send_making(struct delivery *delivery)
{
	struct mounter_request request;
	int r;

	delivery->generation = 1;
	request = request_for(delivery, MOUNTER_OP_MAKE);
	request.size_bytes = TMPFS_BYTES;
	request.inodes = TMPFS_INODES;
	request.flags = delivery->is_plain ? MOUNTER_LAYOUT_PLAIN : 0;
	r = send_request(delivery, &request, NULL, 0);
	for (size_t i = 0; i < delivery->files_count && r == 0; i++) {
		request = request_for_file(delivery, &delivery->files[i]);
		r = send_request(delivery, &request, NULL, 0);
	}
	if (r == 0 && delivery->files_count > 0) {
		request = request_for(delivery, MOUNTER_OP_COMMIT);
		r = send_request(delivery, &request, NULL, 0);
	}
	return r;
}

/* After a first request has gone out, a failure to send a later one is told by the completion. */
static int begun(struct delivery *delivery, int r)
{
	if (r == 0)
		return 0;
	if (!delivery->operation || delivery->operation->replies_open == 0)
		return cancel(delivery, r);
	note_failure(delivery, r, "ask the mounter");
	return 0;
}

int delivery_make(struct delivery *delivery, delivery_done_function *on_done)
{
	const int r = begin(delivery, on_done);

	return r < 0 ? r : begun(delivery, send_making(delivery));
}

int delivery_arm(
	struct delivery *delivery, uint32_t group, int engine, delivery_done_function *on_done)
{
	struct mounter_request request;
	int r = begin(delivery, on_done);

	if (r == 0)
		r = send_making(delivery);
	if (r == 0 && group != UINT32_MAX) {
		request = request_for(delivery, MOUNTER_OP_MARK);
		request.group = group;
		r = send_request(delivery, &request, NULL, 0);
	}
	if (r == 0) {
		request = request_for(delivery, MOUNTER_OP_ATTACH);
		r = send_request(delivery, &request, &engine, 1);
	}
	return begun(delivery, r);
}

/* The next request of a generation that is made beside another: each is a worker's job, and a delivery
 * has one worker at a time. */
static int prepare_next(struct delivery *delivery, mounter_reply_function *on_prepared)
{
	const struct delivery_file *file = &delivery->files[delivery->operation->next_file];
	struct mounter_request request = request_for_file(delivery, file);

	return mounter_link_send(delivery->mounter, &request, NULL, 0, on_prepared, delivery);
}

static void on_prepared(const struct mounter_reply *reply, int fd, void *data)
{
	struct delivery *delivery = data;
	int r = 0;

	note_reply(delivery, reply, fd);
	if (delivery->operation->status == 0 &&
		delivery->operation->next_file < delivery->files_count) {
		r = prepare_next(delivery, on_prepared);
		if (r == 0)
			return;
		note_failure(delivery, r, "ask the mounter");
	}
	finish(delivery);
}

int delivery_prepare(struct delivery *delivery, delivery_done_function *on_done)
{
	int r = begin(delivery, on_done);

	if (r < 0)
		return r;
	delivery->generation++;
	r = prepare_next(delivery, on_prepared);
	if (r < 0)
		delivery->generation--;
	return r < 0 ? cancel(delivery, r) : 0;
}

int delivery_commit(struct delivery *delivery, bool keep_previous, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_COMMIT);

	request.flags = keep_previous ? MOUNTER_KEEP_PREVIOUS : 0;
	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_clean(struct delivery *delivery, bool keep_younger, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_CLEAN);

	request.flags = keep_younger ? MOUNTER_KEEP_PREVIOUS : 0;
	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_take(struct delivery *delivery, const char *path, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_TAKE);

	if (strlen(path) >= sizeof request.name)
		return -ENAMETOOLONG;
	(void)strcpy(request.name, path);
	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_unseal(struct delivery *delivery, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_UNSEAL);

	return send_alone(delivery, &request, NULL, 0, on_done);
}

/* Files of a refill are placeholders that readers see at once. */
static void on_refill_prepared(const struct mounter_reply *reply, int fd, void *data)
{
	struct delivery *delivery = data;
	struct mounter_request request = request_for(delivery, MOUNTER_OP_COMMIT);
	int r = 0;

	note_reply(delivery, reply, fd);
	if (delivery->operation->status < 0 || reply->op == MOUNTER_OP_COMMIT) {
		finish(delivery);
		return;
	}
	r = delivery->operation->next_file < delivery->files_count
		    ? prepare_next(delivery, on_refill_prepared)
		    : mounter_link_send(
			      delivery->mounter, &request, NULL, 0, on_refill_prepared, delivery);
	if (r < 0) {
		note_failure(delivery, r, "ask the mounter");
		finish(delivery);
	}
}

int delivery_refill(struct delivery *delivery, delivery_done_function *on_done)
{
	int r = begin(delivery, on_done);

	if (r < 0)
		return r;
	delivery->generation++;
	r = prepare_next(delivery, on_refill_prepared);
	return r < 0 ? cancel(delivery, r) : 0;
}

int delivery_locate(
	struct delivery *delivery, int init, const char *target, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_LOCATE);

	if (strlen(target) >= sizeof request.name)
		return -ENAMETOOLONG;
	(void)strcpy(request.name, target);
	return send_alone(delivery, &request, &init, 1, on_done);
}

int delivery_mark(struct delivery *delivery, uint32_t group, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_MARK);

	request.group = group;
	request.flags = delivery->sees_closes ? MOUNTER_SEE_CLOSES : 0;
	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_attach_inside(struct delivery *delivery, int init, const char *target,
	const struct delivery *covered, bool make_target, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_ATTACH_INSIDE);

	if (strlen(target) >= sizeof request.name)
		return -ENAMETOOLONG;
	(void)strcpy(request.name, target);
	request.device = covered ? covered->device : 0;
	request.flags = make_target ? MOUNTER_MAKE_TARGET : 0;
	return send_alone(delivery, &request, &init, 1, on_done);
}

int delivery_detach_inside(
	struct delivery *delivery, int init, const char *target, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_DETACH_INSIDE);

	if (strlen(target) >= sizeof request.name)
		return -ENAMETOOLONG;
	(void)strcpy(request.name, target);
	return send_alone(delivery, &request, &init, 1, on_done);
}

int delivery_seal(struct delivery *delivery, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_SEAL);

	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_retreat(struct delivery *delivery, bool keep_guard, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_RETREAT);

	request.flags = (keep_guard ? MOUNTER_KEEP_GUARD : 0) |
			(delivery->sees_closes ? MOUNTER_SEE_CLOSES : 0);
	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_wipe(struct delivery *delivery, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_WIPE);

	/* Open writers would keep the superblock writable, and the values have no reader any more.
	 */
	delivery_set_files(delivery, NULL, 0);
	return send_alone(delivery, &request, NULL, 0, on_done);
}

int delivery_forget(struct delivery *delivery, int engine, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_FORGET);
	const bool is_with_engine = delivery->phase == PHASE_EMPTY && engine >= 0;

	request.flags = is_with_engine ? MOUNTER_WITH_ENGINE : 0;
	return send_alone(delivery, &request, &engine, is_with_engine, on_done);
}

int delivery_adopt(struct delivery *delivery, uint32_t group, int init, int engine,
	const char *target, delivery_done_function *on_done)
{
	struct mounter_request request = request_for(delivery, MOUNTER_OP_ADOPT);
	int fds[2];
	size_t count = 0;

	if (strlen(target) >= sizeof request.name)
		return -ENAMETOOLONG;
	(void)strcpy(request.name, target);
	request.group = group;
	request.device = delivery->device;
	request.mount_id = delivery->located.mount_id;
	request.flags = (delivery->is_plain ? MOUNTER_LAYOUT_PLAIN : 0) |
			(delivery->sees_closes ? MOUNTER_SEE_CLOSES : 0) |
			(init < 0 ? MOUNTER_ON_HOST_PATH : 0) |
			(engine >= 0 ? MOUNTER_WITH_ENGINE : 0);
	if (init >= 0)
		fds[count++] = init;
	if (engine >= 0)
		fds[count++] = engine;
	return send_alone(delivery, &request, fds, count, on_done);
}

static int write_whole(int fd, const struct secret *value)
{
	size_t done = 0;

	while (done < value->length) {
		const ssize_t n =
			pwrite(fd, value->bytes + done, value->length - done, (off_t)done);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* On a thread of the pool. The value is in clear between the two lines in the middle. */
static void run_write(struct work_item *work)
{
	struct delivery_operation *operation = container_of(work, struct delivery_operation, work);
	struct delivery *delivery = operation->delivery;
	struct mayfly_error err;

	for (size_t i = 0; i < delivery->files_count && operation->status == 0; i++) {
		struct delivery_file *file = &delivery->files[i];
		AUTO_SECRET value = { 0 };
		int r = held_value_open(operation->keeper, &file->value, &value, &err);

		if (r == 0)
			r = write_whole(file->writer, &value);
		if (r < 0)
			note_failure(delivery, r, "write a file of the delivery");
	}
}

static void on_written(struct work_item *work, bool is_abandoned)
{
	struct delivery *delivery = container_of(work, struct delivery_operation, work)->delivery;

	(void)is_abandoned;
	delivery_set_files(delivery, NULL, 0);
	finish(delivery);
}

int delivery_write(struct delivery *delivery, uv_loop_t *loop, const struct value_keeper *keeper,
	delivery_done_function *on_done)
{
	int r = begin(delivery, on_done);

	if (r < 0)
		return r;
	delivery->operation->keeper = keeper;
	delivery->operation->work = (struct work_item){ .run = run_write, .on_done = on_written };
	r = work_queue_start(loop, &delivery->operation->work, NULL);
	return r < 0 ? cancel(delivery, r) : 0;
}
