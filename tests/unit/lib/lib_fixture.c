#include "lib_fixture.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 8

struct client {
	int fd;
	char text[4096];
	size_t length;
};

struct clients {
	struct client items[CLIENTS_MAX];
	size_t count;
};

void temporary_path(char *path, size_t size, const char *name)
{
	const char *top = getenv("TMPDIR");
	const int length = snprintf(path, size, "%s/mayfly-%s.XXXXXX", top ? top : "/tmp", name);

	ck_assert_int_lt(length, (int)size);
}

static void problem(struct scripted *s, const char *what, const char *text)
{
	if (!s->problem[0])
		(void)snprintf(s->problem, sizeof s->problem, "%.90s: %.150s", what, text);
}

/* Sends TEXT, of less than 4 KiB, with its "\1" as NULs. */
static void send_whole(int fd, const char *script, size_t length, bool in_pieces)
{
	char bytes[4096];
	const char *text = bytes;

	memcpy(bytes, script, length);
	for (size_t i = 0; i < length; i++)
		bytes[i] = bytes[i] == '\1' ? '\0' : bytes[i];
	while (length > 0) {
		const ssize_t sent = send(fd, text, in_pieces ? 1 : length, MSG_NOSIGNAL);

		if (sent <= 0)
			return; /* The client has gone: what it thinks of that is tested. */
		text += sent;
		length -= (size_t)sent;
	}
}

/* Plays the next step for the call in CLIENT. Returns false if the connection ends. */
static bool play(struct scripted *s, const struct client *client)
{
	const struct step *step = &s->steps[s->at];
	char wanted[128];

	if (step->kind == STEP_END) {
		problem(s, "one call too many", client->text);
		return false;
	}
	(void)snprintf(s->calls[s->at], sizeof s->calls[0], "%s", client->text);
	__atomic_add_fetch(&s->at, 1, __ATOMIC_SEQ_CST);
	(void)snprintf(
		wanted, sizeof wanted, "{\"method\":\"org.mayfly.Container.%s\",", step->method);
	if (strncmp(client->text, wanted, strlen(wanted)) != 0)
		problem(s, wanted, client->text);
	if (step->kind == STEP_GONE || step->kind == STEP_SILENCE)
		return step->kind == STEP_SILENCE;
	send_whole(client->fd, step->text, strlen(step->text) + (step->kind != STEP_HALF),
		step->kind == STEP_PIECES);
	return step->kind == STEP_REPLY || step->kind == STEP_PIECES;
}

/* Takes in what CLIENT has sent. Returns false if its connection has ended. */
static bool receive(struct scripted *s, struct client *client)
{
	const ssize_t got = recv(
		client->fd, client->text + client->length, sizeof client->text - client->length, 0);
	char *end;

	if (got <= 0)
		return false;
	client->length += (size_t)got;
	while ((end = memchr(client->text, '\0', client->length))) {
		const size_t length = (size_t)(end - client->text) + 1;

		if (!play(s, client))
			return false;
		client->length -= length;
		memmove(client->text, client->text + length, client->length);
	}
	return true;
}

static void drop(struct scripted *s, struct clients *clients, size_t index)
{
	(void)close(clients->items[index].fd);
	__atomic_sub_fetch(&s->connected, 1, __ATOMIC_SEQ_CST);
	clients->items[index] = clients->items[--clients->count];
}

static void on_readable(struct scripted *s, struct clients *clients, int fd)
{
	if (fd == s->listener) {
		const int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (accepted < 0 || clients->count == CLIENTS_MAX)
			problem(s, "accept", "");
		else
			clients->items[clients->count++] = (struct client){ .fd = accepted };
		s->connections++;
		__atomic_add_fetch(&s->connected, 1, __ATOMIC_SEQ_CST);
		return;
	}
	for (size_t i = 0; i < clients->count; i++)
		if (clients->items[i].fd == fd && !receive(s, &clients->items[i]))
			drop(s, clients, i);
}

/* Words from the test's thread: a text for everybody, or the end. */
static bool obey(struct scripted *s, const struct clients *clients)
{
	char text[4096];
	const ssize_t got = recv(s->stop[0], text, sizeof text, 0);

	for (size_t i = 0; got > 0 && i < clients->count; i++)
		send_whole(clients->items[i].fd, text, (size_t)got, false);
	return got > 0;
}

static void *serve(void *argument)
{
	struct scripted *s = argument;
	static struct clients clients;
	bool goes_on = true;

	while (goes_on) {
		struct pollfd watched[CLIENTS_MAX + 2] = { { s->stop[0], POLLIN, 0 },
			{ s->listener, POLLIN, 0 } };
		const size_t count = clients.count;

		for (size_t i = 0; i < count; i++)
			watched[i + 2] = (struct pollfd){ clients.items[i].fd, POLLIN, 0 };
		if (poll(watched, count + 2, -1) < 0)
			continue;
		for (size_t i = 1; i < count + 2; i++)
			if (watched[i].revents)
				on_readable(s, &clients, watched[i].fd);
		if (watched[0].revents)
			goes_on = obey(s, &clients);
	}
	while (clients.count > 0)
		drop(s, &clients, 0);
	return NULL;
}

void scripted_start(struct scripted *s, const struct step *steps)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	sigset_t all, before;

	*s = (struct scripted){ .steps = steps };
	temporary_path(s->directory, sizeof s->directory, "lib");
	ck_assert_ptr_nonnull(mkdtemp(s->directory));
	(void)snprintf(s->path, sizeof s->path, "%s/container.sock", s->directory);
	memcpy(address.sun_path, s->path, sizeof s->path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->listener, (const struct sockaddr *)&address, sizeof address), 0);
	ck_assert_int_eq(listen(s->listener, 8), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->stop), 0);
	/* Signals are for the thread that is tested. */
	(void)sigfillset(&all);
	ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
	ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
	ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

bool scripted_is_idle(const struct scripted *s)
{
	return __atomic_load_n(&s->connected, __ATOMIC_SEQ_CST) == 0;
}

void scripted_send(struct scripted *s, const char *text)
{
	ck_assert_int_eq(send(s->stop[1], text, strlen(text) + 1, 0), (ssize_t)strlen(text) + 1);
}

void scripted_abandon(struct scripted *s)
{
	(void)close(s->stop[1]);
	ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
	(void)close(s->stop[0]);
	(void)close(s->listener);
	(void)unlink(s->path);
	(void)rmdir(s->directory);
}

void scripted_stop(struct scripted *s)
{
	scripted_abandon(s);
	ck_assert_msg(!s->problem[0], "%s", s->problem);
	ck_assert_msg(
		s->steps[s->at].kind == STEP_END, "%s was not called", s->steps[s->at].method);
}

unsigned open_descriptors(void)
{
	static bool is_inherited[1024];
	static unsigned calls;
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	unsigned count = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		const int fd = entry->d_name[0] == '.' ? dirfd(directory) : atoi(entry->d_name);

		count++;
		ck_assert_int_lt(fd, 1024);
		if (calls == 0)
			is_inherited[fd] = fd != dirfd(directory);
		else if (!is_inherited[fd])
			ck_assert_msg(fcntl(fd, F_GETFD) & FD_CLOEXEC, "descriptor %d", fd);
	}
	closedir(directory);
	calls++;
	return count;
}
