#include "daemon/broker/delivery/mounter_link.h"

#include "daemon/broker/loop/socket_stream.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* A request that waits for its reply; unsent while the socket is full. */
struct open_request {
	TAILQ_ENTRY(open_request) entry;
	struct mounter_request request;
	bool is_unsent;
	int fds[2]; /* duplicates, while it is unsent */
	size_t fds_count;
	mounter_reply_function *on_reply;
	void *data;
};

TAILQ_HEAD(open_requests, open_request);

/* One mounter's end. */
struct mounter_connection {
	uv_poll_t poll;
	int fd;
	struct mounter_link *link;
};

struct mounter_link {
	struct handle_group group;
	uv_loop_t *loop;
	struct mounter_connection *connection; /* NULL without a mounter */
	uv_idle_t failing; /* tells failures from the loop, never from the call that meets them */
	uint64_t serial;
	size_t unsent;
	struct open_requests requests; /* in the order in which they are sent */
	void (*on_lost)(void *data);
	void *data;
};

static void on_empty(struct handle_group *group)
{
	free(container_of(group, struct mounter_link, group));
}

static void on_closed(uv_handle_t *handle)
{
	struct mounter_connection *connection =
		container_of((uv_poll_t *)handle, struct mounter_connection, poll);

	free(connection);
}

static void let_go(struct mounter_link *link)
{
	struct mounter_connection *connection = link->connection;

	if (!connection)
		return;
	link->connection = NULL;
	(void)uv_poll_stop(&connection->poll);
	uv_close((uv_handle_t *)&connection->poll, on_closed);
	fd_close_p(&connection->fd);
}

static void request_free(struct mounter_link *link, struct open_request *open)
{
	if (open->is_unsent) {
		link->unsent--;
		for (size_t i = 0; i < open->fds_count; i++)
			fd_close_p(&open->fds[i]);
	}
	free(open);
}

static void fail_all(struct mounter_link *link)
{
	struct open_requests failed = TAILQ_HEAD_INITIALIZER(failed);
	struct open_request *open;

	/* Callbacks may send again: they see an empty list. */
	TAILQ_CONCAT(&failed, &link->requests, entry);
	while ((open = TAILQ_FIRST(&failed))) {
		struct mounter_reply reply = { .op = open->request.op,
			.serial = open->request.serial,
			.status = -ECONNRESET,
			.detail = "mayfly-mounter has ended" };

		memcpy(reply.delivery, open->request.delivery, DELIVERY_ID_BYTES);
		TAILQ_REMOVE(&failed, open, entry);
		open->on_reply(&reply, -1, open->data);
		request_free(link, open);
	}
}

static void on_failing(uv_idle_t *idle)
{
	struct mounter_link *link = container_of(idle, struct mounter_link, failing);

	(void)uv_idle_stop(idle);
	let_go(link);
	fail_all(link);
	link->on_lost(link->data);
}

static struct open_request *find(struct mounter_link *link, uint64_t serial)
{
	struct open_request *open;

	TAILQ_FOREACH(open, &link->requests, entry)
	if (open->request.serial == serial && !open->is_unsent)
		return open;
	return NULL;
}

/* LIST is answered more than once: a reply for the zero delivery ends it. */
static bool is_last(const struct mounter_reply *reply)
{
	static const uint8_t zero[DELIVERY_ID_BYTES];

	return reply->op != MOUNTER_OP_LIST || memcmp(reply->delivery, zero, sizeof zero) == 0;
}

static void on_reply(struct mounter_link *link, struct mounter_reply *reply, int fd)
{
	struct open_request *open = find(link, reply->serial);

	reply->detail[sizeof reply->detail - 1] = '\0';
	if (!open) {
		fd_close_p(&fd);
		return;
	}
	if (!is_last(reply)) {
		open->on_reply(reply, fd, open->data);
		return;
	}
	TAILQ_REMOVE(&link->requests, open, entry);
	open->on_reply(reply, fd, open->data);
	request_free(link, open);
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void poll_again(struct mounter_link *link)
{
	if (link->connection)
		(void)uv_poll_start(&link->connection->poll,
			UV_READABLE | (link->unsent ? UV_WRITABLE : 0), on_ready);
}

static void read_replies(struct mounter_link *link)
{
	while (link->connection) {
		struct mounter_reply reply;
		struct fd_set_passed fds;
		const ssize_t received =
			fd_receive(link->connection->fd, &reply, sizeof reply, &fds);

		if (received == -EAGAIN)
			return;
		if (received != sizeof reply || fds.count > 1) {
			if (received >= 0)
				fd_set_passed_done(&fds);
			on_failing(&link->failing);
			return;
		}
		on_reply(link, &reply, fds.count ? fds.fds[0] : -1);
	}
}

/* Sends what waits, until the socket is full again. A mounter that has ended is found by the next
 * read. */
static void send_unsent(struct mounter_link *link)
{
	struct open_request *open;

	TAILQ_FOREACH(open, &link->requests, entry)
	{
		if (!open->is_unsent)
			continue;
		if (fd_send(link->connection->fd, &open->request, sizeof open->request, open->fds,
			    open->fds_count) != sizeof open->request)
			return;
		open->is_unsent = false;
		link->unsent--;
		for (size_t i = 0; i < open->fds_count; i++)
			fd_close_p(&open->fds[i]);
	}
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct mounter_link *link = container_of(poll, struct mounter_connection, poll)->link;

	if (events & UV_WRITABLE) {
		send_unsent(link);
		poll_again(link);
	}
	if (status < 0 || (events & UV_READABLE))
		read_replies(link);
}

int mounter_link_replace(struct mounter_link *link, int fd, struct mayfly_error *err)
{
	struct mounter_connection *connection = calloc(1, sizeof *connection);
	int r = connection ? 0 : -ENOMEM;

	let_go(link);
	fail_all(link);
	if (r == 0)
		r = uv_poll_init(link->loop, &connection->poll, fd);
	if (r < 0) {
		free(connection);
		(void)close(fd);
		return error_errno(err, r, "watch the mounter's socket");
	}
	connection->fd = fd;
	connection->link = link;
	link->connection = connection;
	poll_again(link);
	return 0;
}

int mounter_link_new(uv_loop_t *loop, int fd, void (*on_lost)(void *data), void *data,
	struct mounter_link **ret_link, struct mayfly_error *err)
{
	struct mounter_link *link = calloc(1, sizeof *link);
	int r;

	if (!link)
		return error_errno(err, -ENOMEM, "make the link to the mounter");
	link->loop = loop;
	link->on_lost = on_lost;
	link->data = data;
	TAILQ_INIT(&link->requests);
	handle_group_init(&link->group, on_empty);
	(void)uv_idle_init(loop, &link->failing);
	handle_group_add(&link->group, (uv_handle_t *)&link->failing);
	r = mounter_link_replace(link, fd, err);
	if (r < 0) {
		mounter_link_close(link);
		return r;
	}
	*ret_link = link;
	return 0;
}

bool mounter_link_is_up(const struct mounter_link *link)
{
	return link->connection != NULL;
}

/* Keeps OPEN until the socket has room. */
static int keep_unsent(
	struct mounter_link *link, struct open_request *open, const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		open->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (open->fds[i] < 0) {
			const int code = -errno;
			while (i > 0)
				fd_close_p(&open->fds[--i]);
			return code;
		}
	}
	open->fds_count = count;
	open->is_unsent = true;
	link->unsent++;
	return 0;
}

int mounter_link_send(struct mounter_link *link, struct mounter_request *request, const int *fds,
	size_t count, mounter_reply_function *function, void *data)
{
	struct open_request *open;
	ssize_t sent = -EAGAIN;
	int r = 0;

	if (!link->connection)
		return -ECONNRESET;
	open = calloc(1, sizeof *open);
	if (!open)
		return -ENOMEM;
	request->serial = ++link->serial;
	open->request = *request;
	open->on_reply = function;
	open->data = data;
	if (!link->unsent)
		sent = fd_send(link->connection->fd, request, sizeof *request, fds, count);
	if (sent == -EAGAIN)
		r = keep_unsent(link, open, fds, count);
	else if (sent != sizeof *request)
		/* The mounter has ended; the loop tells. */
		(void)uv_idle_start(&link->failing, on_failing);
	if (r < 0) {
		free(open);
		return r;
	}
	TAILQ_INSERT_TAIL(&link->requests, open, entry);
	poll_again(link);
	return 0;
}

void mounter_link_close(struct mounter_link *link)
{
	if (!handle_group_end(&link->group))
		return;
	let_go(link);
	fail_all(link);
	(void)uv_idle_stop(&link->failing);
	handle_group_close((uv_handle_t *)&link->failing);
	handle_group_release(&link->group);
}
