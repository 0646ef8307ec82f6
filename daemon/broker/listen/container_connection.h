/* One connection of the container socket; shared by container_socket.c (who calls, and when) and
 * container_methods.c (what is asked). */
#pragma once

#include "daemon/broker/listen/container_socket.h"
#include "daemon/broker/request/container_request.h"
#include "daemon/broker/wire/fair_share.h"
#include "daemon/broker/wire/varlink_server.h"

#define NONCE_HEX_SIZE 33

/* The last answer on a connection, for whoever asks the same again and nothing has changed. */
struct container_memory {
	const struct container_method *method; /* NULL: nothing is remembered */
	json_t *parameters;
	uint64_t epoch;			     /* of the broker's files */
	char lease[DELIVERY_HEX_LENGTH + 1]; /* "": it is about none */
	uint32_t generation;
	char *text;
	size_t length;
};

struct container_connection {
	struct container_socket *socket;
	struct varlink_exchange *exchange;
	struct fair_share *share;
	/* the process that has connected */
	pid_t pid;
	uint64_t unique_id;	    /* 0: the kernel has none */
	int pidfd;		    /* before 6.5; else -1 */
	char nonce[NONCE_HEX_SIZE]; /* to be echoed; "" when there is no need any more */
	struct attested *who;	    /* NULL until it is asked for */
	struct attestation *attestation;
	/* the call under way */
	const struct container_method *method;
	char *called; /* its name as it was called */
	json_t *parameters;
	bool wants_more;
	struct container_request *request;
	struct container_memory memory;
	bool is_counted; /* among the share's waits */
	uint64_t not_before_ms;
	TAILQ_ENTRY(container_connection) delayed; /* until not_before_ms, or for its turn */
	TAILQ_ENTRY(container_connection) watching;
	bool is_delayed, is_in_turn, is_watching;
};

TAILQ_HEAD(container_connections, container_connection);

struct container_socket {
	struct broker *broker;
	struct varlink_server *server;
	struct fair_shares *shares;
	struct handle_group handles;
	struct deadline tick; /* while calls are delayed */
	uv_check_t turns;     /* each turn of the loop is one of everybody's */
	uv_idle_t hurry;      /* while somebody waits for the next one */
	uint64_t turn;
	bool has_unique_ids; /* of processes */
	struct container_connections delayed, in_turn, watching;
};

/* A row of the table of methods. The caller is attested when RUN is called, unless it is for
 * anybody. */
struct container_method {
	const char *name;
	void (*run)(struct container_connection *connection);
	const char *parameters
		[4]; /* that it takes, with a NULL behind them; not of what is for anybody */
	bool is_for_anybody;
};

/* NULL when there is no such method. */
const struct container_method *container_method_find(const char *name);

/* The first of PARAMETERS that METHOD does not take, or that is none of its kind; NULL when all are
 * right. Called before any is kept: what is not looked at must not be able to fill our memory. */
const char *container_parameter_wrong(const struct container_method *method, json_t *parameters);

struct fair_limits container_limits(const struct container_socket *socket);

/* A descriptor of the process that has connected, the caller's; negative errno. */
int container_peer(const struct container_connection *connection);

/* Ends the call under way with a reply (a reference is taken over), or with an error and its text. */
void container_reply(struct container_connection *connection, json_t *parameters);
void container_fail(struct container_connection *connection, const char *error, const char *text);
void container_fail_with(
	struct container_connection *connection, const char *error, json_t *parameters);

/* The same with NotAttested, which is recorded: each, but not each of many. */
void container_refuse(struct container_connection *connection, const char *why);

/* The same, and remembers it: it is the answer again while LEASE (NULL: none) has this generation and
 * nobody has read other files. */
void container_reply_remembered(
	struct container_connection *connection, json_t *parameters, const struct lease *lease);

/* The call waits for something; false (and it has failed with TooMuch): as many wait as may. */
bool container_count_wait(struct container_connection *connection);

/* Forgets the call under way, without a reply. */
void container_forget_call(struct container_connection *connection);
