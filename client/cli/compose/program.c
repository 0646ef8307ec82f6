#include "client/cli/compose/program.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define OUTPUT_MAX_BYTES ((size_t)8 * 1024 * 1024)
#define DEADLINE_S	 60

extern char **environ;

/* The reading end of one of the child's streams, and what came out of it. */
struct stream {
	int fd;
	char *text;
	size_t length, room;
};

enum { STREAM_OUT, STREAM_COMPLAINT, STREAM_COUNT };

struct streams {
	struct stream items[STREAM_COUNT];
};

static void streams_done(struct streams *streams)
{
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		fd_close_p(&streams->items[i].fd);
		free(streams->items[i].text);
	}
}

void program_output_done(struct program_output *output)
{
	free(output->text);
	free(output->complaint);
	*output = (struct program_output){ 0 };
}

/* Makes a pipe; the writing end goes to *RET_WRITE. */
static int stream_open(struct stream *stream, int *ret_write, struct mayfly_error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_errno(err, -errno, "make a pipe");
	stream->fd = ends[0];
	*ret_write = ends[1];
	return 0;
}

static int spawn(const char *const *argv, int out, int complaint, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, complaint, STDERR_FILENO);
	if (r == 0)
		r = posix_spawnp(
			ret_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	/* It only frees memory. */
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Takes what is there; at the end of the stream its descriptor is closed. */
static int stream_read(struct stream *stream)
{
	ssize_t got;

	if (stream->room - stream->length < 65536) {
		const size_t room = stream->room + 256 * 1024;
		char *text = room <= OUTPUT_MAX_BYTES ? realloc(stream->text, room + 1) : NULL;

		if (!text)
			return room > OUTPUT_MAX_BYTES ? -EFBIG : -ENOMEM;
		stream->text = text;
		stream->room = room;
	}
	got = read(stream->fd, stream->text + stream->length, stream->room - stream->length);
	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (got == 0)
		fd_close_p(&stream->fd);
	stream->length += (size_t)got;
	stream->text[stream->length] = '\0';
	return 0;
}

static int collect(struct stream *streams)
{
	struct timespec now, end;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += DEADLINE_S;
	while (streams[0].fd >= 0 || streams[1].fd >= 0) {
		struct pollfd watched[] = { { streams[0].fd, POLLIN, 0 },
			{ streams[1].fd, POLLIN, 0 } };

		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end.tv_sec)
			return -ETIMEDOUT;
		if (poll(watched, 2, 1000) < 0 && errno != EINTR)
			return -errno;
		for (size_t i = 0; i < 2; i++) {
			int r = watched[i].revents ? stream_read(&streams[i]) : 0;

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *stream_take(struct stream *stream)
{
	return stream->text ? ptr_take(&stream->text) : calloc(1, 1);
}

/* Hands the collected text to OUTPUT. */
static int hand_over(struct streams *streams, struct program_output *output)
{
	output->length = streams->items[STREAM_OUT].length;
	output->complaint_length = streams->items[STREAM_COMPLAINT].length;
	output->text = stream_take(&streams->items[STREAM_OUT]);
	output->complaint = stream_take(&streams->items[STREAM_COMPLAINT]);
	if (output->text && output->complaint)
		return 0;
	program_output_done(output);
	return -ENOMEM;
}

int program_run(
	const char *const *argv, struct program_output *ret_output, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(streams_done) struct streams streams = { { { .fd = -1 }, { .fd = -1 } } };
	struct program_output output = { 0 };
	AUTO_FD out_end = -1;
	AUTO_FD complaint_end = -1;
	pid_t pid;
	int r = stream_open(&streams.items[STREAM_OUT], &out_end, err);

	if (r == 0)
		r = stream_open(&streams.items[STREAM_COMPLAINT], &complaint_end, err);
	if (r < 0)
		return r;
	r = spawn(argv, out_end, complaint_end, &pid);
	if (r < 0)
		return error_errno(err, r, "run %s", argv[0]);
	fd_close_p(&out_end);
	fd_close_p(&complaint_end);
	r = collect(streams.items);
	if (r < 0)
		/* Our child, not waited for yet: the number cannot be another's. */
		(void)kill(pid, SIGKILL);
	output.status = wait_for(pid);
	if (r == 0)
		r = hand_over(&streams, &output);
	if (r < 0)
		return error_errno(err, r, "wait for %s", argv[0]);
	*ret_output = output;
	return 0;
}
