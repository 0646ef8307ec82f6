/* The front for containers: org.mayfly.Container (proto/org.mayfly.Container.varlink) on
 * /run/mayfly/container/container.sock. Anybody may connect; who it is is asked of the kernel
 * (request/attestation.h), once for each connection, and again right before something is released.
 * Translates; decides nothing. No value ever passes here: the answer to Request is a delivery.
 *
 * An idle connection costs about 1 KiB and one descriptor: the process behind it is asked for again
 * when it is needed (before 6.5 it is held). One caller's floods are its own: wire/fair_share.h. */
#pragma once

#include "daemon/broker/request/broker.h"

#define CONTAINER_INTERFACE   "org.mayfly.Container"
#define CONTAINER_ERROR(name) CONTAINER_INTERFACE "." name

struct container_socket;

/* Serves the listening socket FD. Everything is borrowed. */
int container_socket_serve(struct broker *broker, int fd, struct container_socket **ret_socket,
	struct mayfly_error *err);
void container_socket_close(struct container_socket *socket);

/* A client of LEASE's container watches. */
bool container_socket_is_watched(const struct container_socket *socket, const struct lease *lease);

/* Something has happened to a delivery: tells the container's watches. */
void container_socket_tell(
	struct container_socket *socket, const struct lease *lease, enum lease_event event);
