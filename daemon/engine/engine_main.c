/* mayfly-engine: the only process that speaks to the container engine and reads its directory. uid
 * 0 without any capability. Started by the supervisor, one for each engine. */
#include "daemon/engine/engine_session.h"
#include "daemon/engine/sandbox.h"
#include "daemon/privilege/drop.h"
#include "proto/cleanup.h"
#include "proto/log.h"
#include "proto/supervisor_protocol.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2

static int read_arguments(int argc, char **argv, struct engine_arguments *ret_arguments)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "plugin", required_argument, NULL, 'p' },
		{ "exec-root", required_argument, NULL, 'e' },
		{ NULL, 0, NULL, 0 },
	};
	struct engine_arguments arguments = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			arguments.socket = optarg;
		else if (option == 'p')
			arguments.plugin_name = optarg;
		else if (option == 'e')
			arguments.exec_root = optarg;
		else
			return -EINVAL;
	}
	if (!arguments.socket || !arguments.plugin_name || !arguments.exec_root || optind != argc ||
		arguments.socket[0] != '/' || arguments.exec_root[0] != '/' ||
		strlen(arguments.exec_root) >= ENGINE_PATH_SIZE / 2)
		return -EINVAL;
	*ret_arguments = arguments;
	return 0;
}

/* Whether a container lives is read from /proc: hidden processes would all seem dead. */
static int check_proc(struct mayfly_error *err)
{
	AUTO_FD fd = open("/proc/1/cgroup", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(
			err, -errno, "read /proc/1/cgroup (is /proc mounted with hidepid?)");
	return 0;
}

static int serve(uv_loop_t *loop, const struct engine_arguments *arguments, int *root,
	int *ret_status, struct mayfly_error *err)
{
	struct engine_session session;
	const int r = engine_session_open(
		&session, loop, arguments, fd_take(root), CHILD_FD_CONTROL, ENGINE_FD_BROKER, err);

	if (r == 0)
		(void)uv_run(loop, UV_RUN_DEFAULT); /* returns what is still open: all of it */
	engine_session_close(&session);
	(void)uv_run(loop, UV_RUN_DEFAULT); /* until the last handle is closed */
	engine_session_done(&session);
	*ret_status = session.exit_status;
	return r;
}

static int run(const struct engine_arguments *arguments, int *ret_status, struct mayfly_error *err)
{
	AUTO_FD root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	uv_loop_t loop;
	int r;

	if (root < 0)
		return error_errno(err, -errno, "open '/'");
	/* Without TLS, which a unix socket does not need: 2 MiB less. */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return error_errno(err, -ENOMEM, "prepare libcurl");
	r = uv_loop_init(&loop);
	if (r < 0)
		return error_errno(err, r, "make an event loop");
	r = sandbox_enter(err);
	if (r == 0)
		r = check_proc(err);
	if (r == 0)
		r = serve(&loop, arguments, &root, ret_status, err);
	(void)uv_loop_close(&loop); /* busy only where serve() did not get far */
	curl_global_cleanup();
	return r;
}

int main(int argc, char **argv)
{
	struct engine_arguments arguments;
	struct mayfly_error error;
	int status = EXIT_SUCCESS;

	process_harden();
	log_init("mayfly-engine", getenv("JOURNAL_STREAM") != NULL);
	/* Newer versions of libuv use calls that the sandbox does not allow. */
	(void)setenv("UV_USE_IO_URING", "0", 1);
	if (read_arguments(argc, argv, &arguments) < 0) {
		log_error("usage: mayfly-engine --socket PATH --plugin NAME --exec-root PATH");
		return EXIT_USAGE;
	}
	if (run(&arguments, &status, &error) < 0) {
		log_error("%s", error.text);
		return EXIT_FAILURE;
	}
	return status;
}
