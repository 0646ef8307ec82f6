/* Which process an engine is, as the peer of its plugin connections shows it. That decides in which
 * mount namespace its host paths are: the mounter attaches there, and mayfly-engine reads its files
 * from there. */
#pragma once

#include "daemon/broker/request/broker.h"

#include <sys/types.h>

/* ENGINE spoke to us as the process PIDFD (taken over), number PID. */
void engine_process_note(struct broker_engine *engine, int pidfd, pid_t pid);

/* There is another mayfly-engine, which knows nothing yet. */
void engine_process_forget_reader(struct broker_engine *engine);

/* True when mayfly-engine looks at files from where the engine sees them; before that what it says
 * of containers means nothing. False: that is under way, and broker_wake() follows. */
bool engine_process_is_known(struct broker_engine *engine);
