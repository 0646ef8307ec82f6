/* The least that a server on a unix socket can be with libuv: reads up to a NUL, answers with the bytes
 * of a file. What the container socket is compared with.
 * bare_server SOCKET FILE: FILE holds one answer, with its NUL. Runs until it is killed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static char answer[65536];
static size_t answer_length;
static char buffer[65536];

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	(void)handle;
	(void)size;
	*ret = uv_buf_init(buffer, sizeof buffer);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *read)
{
	uv_buf_t part = uv_buf_init(answer, (unsigned)answer_length);

	if (length < 0)
		uv_close((uv_handle_t *)stream, on_closed);
	else if (length > 0 && read->base[length - 1] == '\0')
		(void)uv_try_write(stream, &part, 1);
}

static void on_connection(uv_stream_t *server, int status)
{
	uv_pipe_t *client = malloc(sizeof *client);

	if (status < 0 || !client || uv_pipe_init(server->loop, client, 0) < 0 ||
		uv_accept(server, (uv_stream_t *)client) < 0)
		exit(EXIT_FAILURE);
	(void)uv_read_start((uv_stream_t *)client, on_alloc, on_read);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	uv_pipe_t server;
	FILE *file = argc == 3 ? fopen(argv[2], "r") : NULL;

	if (!file)
		return 2;
	answer_length = fread(answer, 1, sizeof answer, file);
	(void)fclose(file);
	if (uv_pipe_init(loop, &server, 0) < 0 || uv_pipe_bind(&server, argv[1]) < 0 ||
		uv_pipe_chmod(&server, UV_READABLE | UV_WRITABLE) < 0 ||
		uv_listen((uv_stream_t *)&server, 128, on_connection) < 0)
		return EXIT_FAILURE;
	return uv_run(loop, UV_RUN_DEFAULT);
}
