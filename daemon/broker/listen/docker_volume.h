/* The front that Docker's volume plugin protocol comes in by: `volumes: { secrets: { driver: mayfly
 * } }`. Translates; decides nothing. Exact behaviour of each endpoint: Docker's plugins_volume.md
 * and what its engines really do:
 * - Activate, Get, List, Path and Capabilities are answered from memory: an engine asks for them
 * while it boots, before it serves its own API, and takes an error of Get for "that volume is gone"
 * and forgets its driver.
 * - A retried request comes with an empty body: refused, never taken for an empty name.
 * - Errors are HTTP 500 and {"Err": "mayfly: ..."}: they stand in `docker run`'s own error. */
#pragma once

#include "daemon/broker/listen/volume_table.h"

struct docker_volume;

/* Serves ENGINE's plugin socket. Everything is borrowed. */
int docker_volume_serve(struct broker *broker, struct broker_engine *engine,
	struct volume_table *table, struct docker_volume **ret_front, struct mayfly_error *err);
void docker_volume_close(struct docker_volume *front);
