/* The broker and everything that serves it, for the life of the process. broker_start.c makes it,
 * broker_stop.c ends it. */
#pragma once

#include "daemon/broker/listen/container_socket.h"
#include "daemon/broker/listen/docker_volume.h"
#include "daemon/broker/listen/operator/operator_socket.h"
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/loop/descriptor_watch.h"
#include "daemon/broker/request/broker.h"

struct service {
	struct openers early; /* opens that came before everything was taken up again */
	struct broker broker;
	uv_loop_t loop;
	struct handle_group handles;
	struct descriptor_watch control;
	uv_timer_t heartbeat;
	uv_signal_t terminate;
	struct deadline stop;
	struct volume_table volumes;
	struct docker_volume *fronts[MAYFLY_ENGINES_MAX];
	struct operator_socket *operators;
	struct container_socket *containers;
	char volumes_path[4200];
	char state_path[4200];
	bool has_given_tokens_back; /* to the servers of sets of provider `vault` */
	int exit_status;
};

/* SIGTERM: unreleased deliveries are wiped, running containers keep theirs; what is being written
 * is finished. Within 0.6 s. */
void service_begin_stop(struct service *service);
/* Of the stop's deadline. */
void service_stop_is_late(struct deadline *deadline);
/* A lease has ended: the stop may go on, or somebody may stop waiting. */
void service_lease_ended(struct lease_context *context);
/* Ends the process, keys and values wiped. */
_Noreturn void service_leave(struct service *service);
