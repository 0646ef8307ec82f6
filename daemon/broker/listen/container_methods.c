/* What a container may ask for: one function for each method. */
#include "daemon/broker/listen/container_connection.h"

#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/policy/plan.h"
#include "daemon/broker/request/container_presence.h"
#include "proto/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX     MAYFLY_DELIVERY_MAX_FILES
/* A decision is recorded, a delivery is made in a dozen steps: beside other requests, so many. */
#define DECISION_COST 20

static struct broker *broker_of(const struct container_connection *connection)
{
	return connection->socket->broker;
}

static void fail_parameter(struct container_connection *connection, const char *name)
{
	container_fail_with(
		connection, VARLINK_ERROR_INVALID_PARAMETER, json_pack("{s:s}", "parameter", name));
}

/* --- WhoAmI --- */

/* The grants that would give this container something now. */
static json_t *grants_of(const struct container_connection *connection)
{
	const struct broker *broker = broker_of(connection);
	const struct attested *who = connection->who;
	const struct policy_question question = {
		.facts = &who->facts,
		.volume = "",
		.environment = broker->config->environment,
		.cgroup_version =
			engine_link_status(broker->leases.engines[who->engine])->cgroup_version,
	};
	struct plan plan = { 0 };
	struct mayfly_error err;
	json_t *names;

	if (policy_decide(broker->leases.policy, &question, NULL, &plan, &err) < 0)
		return json_array();
	names = plan_grant_names(&plan);
	plan_done(&plan);
	return names;
}

static void on_who_am_i(struct container_connection *connection)
{
	const struct attested *who = connection->who;

	container_reply_remembered(connection,
		json_pack("{s:s, s:s, s:s, s:o, s:O}", "container", who->facts.name, "container_id",
			who->facts.id, "engine", broker_of(connection)->engines[who->engine].name,
			"grants", grants_of(connection), "facts", who->steps),
		NULL);
}

/* --- Request --- */

static void on_answer(void *data, const struct container_answer *answer)
{
	static const char *const errors[] = {
		[OUTCOME_REFUSED] = CONTAINER_ERROR("Refused"),
		[OUTCOME_NOT_ATTESTED] = CONTAINER_ERROR("NotAttested"),
		[OUTCOME_NOT_YET] = CONTAINER_ERROR("NotYet"),
		[OUTCOME_NO_TARGET] = CONTAINER_ERROR("NoTarget"),
		[OUTCOME_FAILED] = CONTAINER_ERROR("Failed"),
	};
	struct container_connection *connection = data;

	connection->request = NULL;
	if (answer->outcome != OUTCOME_PRESENT)
		fair_share_owe(connection->share, DECISION_COST - 1);
	switch (answer->outcome) {
	case OUTCOME_DELIVERED:
		container_reply(
			connection, json_pack("{s:o, s:b}", "delivery",
					    lease_describe_inside(answer->lease), "is_new", true));
		return;
	case OUTCOME_PRESENT:
		container_reply_remembered(connection,
			json_pack("{s:o, s:b}", "delivery", lease_describe_inside(answer->lease),
				"is_new", false),
			answer->lease);
		return;
	case OUTCOME_NO_TARGET:
		container_fail_with(connection, CONTAINER_ERROR("NoTarget"),
			json_pack("{s:s, s:s?}", "text", answer->text, "advice", answer->advice));
		return;
	case OUTCOME_INVALID:
	case OUTCOME_REFUSED:
	case OUTCOME_NOT_ATTESTED:
	case OUTCOME_NOT_YET:
	case OUTCOME_FAILED:
		break;
	}
	container_fail(
		connection, errors[answer->outcome] ?: CONTAINER_ERROR("Failed"), answer->text);
}

static struct container_wish read_wish(
	const struct container_connection *connection, const char **names)
{
	json_t *parameters = connection->parameters;
	struct container_wish wish = { .names = names,
		.share = connection->share,
		.grant = json_string_value(json_object_get(parameters, "grant")),
		.wait_ms = (uint64_t)json_integer_value(json_object_get(parameters, "wait_ms")) };
	json_t *name;
	size_t i;

	json_array_foreach (json_object_get(parameters, "names"), i, name)
		names[wish.names_count++] = json_string_value(name);
	return wish;
}

static void on_request(struct container_connection *connection)
{
	const char *names[NAMES_MAX];
	struct container_wish wish = read_wish(connection, names);
	AUTO_FD peer = -1;

	if (wish.wait_ms > 0 && !container_count_wait(connection))
		return;
	peer = container_peer(connection);
	if (peer < 0)
		container_refuse(connection, "the process that has connected has ended");
	else if (container_request_start(broker_of(connection), connection->who, peer, &wish,
			 on_answer, connection, &connection->request) < 0)
		container_fail(connection, CONTAINER_ERROR("Failed"), "out of memory");
}

/* --- Watch --- */

static const char *event_name(enum lease_event event)
{
	switch (event) {
	case LEASE_EVENT_ROTATED:
		return "rotated";
	case LEASE_EVENT_EXPIRING:
		return "expiring";
	case LEASE_EVENT_ENDED:
		return "ended";
	case LEASE_EVENT_PRESENT:
		break;
	}
	return "present";
}

static json_t *event_to_json(const struct lease *lease, enum lease_event event)
{
	return json_pack(
		"{s:s, s:o}", "event", event_name(event), "delivery", lease_describe_inside(lease));
}

/* False when the connection is gone. */
static bool tell_present(struct container_connection *connection)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &broker_of(connection)->leases.leases, entry)
	{
		if (!lease_is_released(lease) || !lease_is_of(lease, connection->who))
			continue;
		if (!connection->wants_more) {
			container_reply(connection, event_to_json(lease, LEASE_EVENT_PRESENT));
			return false;
		}
		if (!varlink_continue(
			    connection->exchange, event_to_json(lease, LEASE_EVENT_PRESENT)))
			return false;
	}
	return true;
}

static void on_watch(struct container_connection *connection)
{
	if (connection->wants_more && !container_count_wait(connection))
		return;
	if (!tell_present(connection))
		return;
	if (!connection->wants_more) {
		container_fail_with(connection, CONTAINER_ERROR("NothingDelivered"), NULL);
		return;
	}
	if (!varlink_continue(connection->exchange, json_pack("{s:s}", "event", "synchronised")))
		return;
	connection->is_watching = true;
	TAILQ_INSERT_TAIL(&connection->socket->watching, connection, watching);
}

void container_socket_tell(
	struct container_socket *socket, const struct lease *lease, enum lease_event event)
{
	struct container_connection *connection, *next;

	for (connection = TAILQ_FIRST(&socket->watching); connection; connection = next) {
		next = TAILQ_NEXT(connection, watching);
		/* A watch that is not read ends with its connection. */
		if (connection->who && lease_is_of(lease, connection->who))
			(void)varlink_continue(connection->exchange, event_to_json(lease, event));
	}
}

bool container_socket_is_watched(const struct container_socket *socket, const struct lease *lease)
{
	const struct container_connection *connection;

	TAILQ_FOREACH(connection, &socket->watching, watching)
	if (connection->who && lease_is_of(lease, connection->who))
		return true;
	return false;
}

/* --- Release --- */

static void on_release(struct container_connection *connection)
{
	const char *id = json_string_value(json_object_get(connection->parameters, "lease"));
	struct lease *lease = id ? lease_find(&broker_of(connection)->leases, id) : NULL;

	if (!id)
		fail_parameter(connection, "lease");
	else if (!lease || !lease_is_of(lease, connection->who) || !lease_is_released(lease))
		container_fail(connection, CONTAINER_ERROR("NotReleasable"),
			"this container has no such lease");
	else if (lease->mode != LEASE_AT_REQUEST)
		container_fail(connection, CONTAINER_ERROR("NotReleasable"),
			"a volume's files stay until the container stops");
	else {
		lease_end(lease, "released by its container");
		container_reply(connection, NULL);
	}
}

/* One row for each method of the interface but Echo, which comes before anybody is attested. */
static const struct container_method methods[] = {
	{ "Request", on_request, { "grant", "names", "wait_ms" } },
	{ "Watch", on_watch, { NULL } },
	{ "Release", on_release, { "lease" } },
	{ "WhoAmI", on_who_am_i, { NULL } },
};

const struct container_method *container_method_find(const char *name)
{
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

static bool is_of_its_kind(const char *parameter, json_t *value)
{
	json_t *name;
	size_t i;

	if (json_is_null(value))
		return true;
	if (strcmp(parameter, "wait_ms") == 0)
		return json_is_integer(value) && json_integer_value(value) >= 0;
	if (strcmp(parameter, "names") != 0)
		return json_is_string(value);
	if (!json_is_array(value) || json_array_size(value) > NAMES_MAX)
		return false;
	json_array_foreach (value, i, name)
		if (!json_is_string(name))
			return false;
	return true;
}

const char *container_parameter_wrong(const struct container_method *method, json_t *parameters)
{
	const char *key;
	json_t *value;

	json_object_foreach (parameters, key, value) {
		size_t i = 0;

		while (method->parameters[i] && strcmp(method->parameters[i], key) != 0)
			i++;
		if (!method->parameters[i])
			return key;
		if (!is_of_its_kind(key, value))
			return key;
	}
	return NULL;
}
