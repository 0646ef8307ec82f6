#include "daemon/broker/request/engine_process.h"

#include "daemon/broker/identity/container_process.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <sys/stat.h>
#include <unistd.h>

static void on_root(const struct mounter_reply *reply, int fd, void *data)
{
	struct broker_engine *engine = data;
	struct broker *broker = engine->broker;
	const bool is_of_an_earlier_one = engine->root_is_outdated;

	engine->root_is_asked = engine->root_is_outdated = false;
	if (is_of_an_earlier_one) {
		fd_close_p(&fd);
		(void)engine_process_is_known(engine);
		return;
	}
	if (reply->status < 0 || fd < 0) {
		/* The next mounter is asked again; everything else is for the log, and for the
		 * deadline of those who wait. */
		log_error("engine %s: %s", engine->name, reply->detail);
		fd_close_p(&fd);
		return;
	}
	/* What is sent after it is answered after it. */
	engine->root_is_known =
		engine_link_send_root(broker->leases.engines[engine->index], fd) == 0;
	broker_wake(broker);
}

static void root_is_another(struct broker_engine *engine)
{
	engine->root_is_known = false;
	engine->root_is_outdated = engine->root_is_asked;
}

bool engine_process_is_known(struct broker_engine *engine)
{
	struct mounter_request request = { .op = MOUNTER_OP_ENGINE_ROOT };
	struct lease_context *leases = &engine->broker->leases;
	const int *pidfd = &leases->engine_pidfds[engine->index];

	/* One that cannot be identified is refused where that matters. */
	if (engine->root_is_known || *pidfd < 0)
		return true;
	if (!engine->root_is_asked)
		engine->root_is_asked = mounter_link_send(leases->mounter, &request, pidfd, 1,
						on_root, engine) == 0;
	return false;
}

void engine_process_note(struct broker_engine *engine, int pidfd, pid_t pid)
{
	int *known = &engine->broker->leases.engine_pidfds[engine->index];
	struct stat old, new;

	/* pidfds of one process have one inode since 6.9; before, the process that is alive is
	 * taken for the same. */
	if (*known >= 0 && process_is_alive(*known) && fstat(*known, &old) == 0 &&
		fstat(pidfd, &new) == 0 && old.st_ino == new.st_ino) {
		(void)close(pidfd);
		return;
	}
	fd_close_p(known);
	*known = pidfd;
	broker_note_engine_process(engine->broker, engine, pid);
	root_is_another(engine);
	(void)engine_process_is_known(engine);
}

void engine_process_forget_reader(struct broker_engine *engine)
{
	root_is_another(engine);
	(void)engine_process_is_known(engine);
}
