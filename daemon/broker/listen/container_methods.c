/* What a container may ask for: one function for each method. */
#include "daemon/broker/listen/container_connection.h"

#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/policy/plan.h"
#include "daemon/broker/request/container_presence.h"
#include "proto/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX MAYFLY_DELIVERY_MAX_FILES

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

/* The names that were asked for, borrowed from the parameters; false (and it has failed) when they
 * are none. */
static bool read_names(struct container_connection *connection, const char **names, size_t *count)
{
	json_t *array = json_object_get(connection->parameters, "names"), *name;
	size_t i;

	*count = 0;
	if (array && !json_is_null(array) &&
		(!json_is_array(array) || json_array_size(array) > NAMES_MAX)) {
		fail_parameter(connection, "names");
		return false;
	}
	json_array_foreach (array, i, name) {
		if (!json_is_string(name)) {
			fail_parameter(connection, "names");
			return false;
		}
		names[(*count)++] = json_string_value(name);
	}
	return true;
}

static bool read_wish(
	struct container_connection *connection, const char **names, struct container_wish *wish)
{
	json_t *grant = json_object_get(connection->parameters, "grant");
	json_t *wait = json_object_get(connection->parameters, "wait_ms");

	if (grant && !json_is_null(grant) && !json_is_string(grant)) {
		fail_parameter(connection, "grant");
		return false;
	}
	if (wait && !json_is_null(wait) &&
		(!json_is_integer(wait) || json_integer_value(wait) < 0)) {
		fail_parameter(connection, "wait_ms");
		return false;
	}
	*wish = (struct container_wish){ .grant = json_string_value(grant),
		.names = names,
		.wait_ms = (uint64_t)json_integer_value(wait) };
	return read_names(connection, names, &wish->names_count);
}

static void on_request(struct container_connection *connection)
{
	const char *names[NAMES_MAX];
	struct container_wish wish;
	AUTO_FD peer = -1;

	if (!read_wish(connection, names, &wish))
		return;
	if (wish.wait_ms > 0 && !container_count_wait(connection))
		return;
	peer = container_peer(connection);
	if (peer < 0)
		container_fail(connection, CONTAINER_ERROR("NotAttested"),
			"the process that has connected has ended");
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
		if (lease->state != LEASE_RELEASED || lease->end_reason ||
			!lease_is_of(lease, connection->who))
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

/* --- Release --- */

static void on_release(struct container_connection *connection)
{
	const char *id = json_string_value(json_object_get(connection->parameters, "lease"));
	struct lease *lease = id ? lease_find(&broker_of(connection)->leases, id) : NULL;

	if (!id)
		fail_parameter(connection, "lease");
	else if (!lease || !lease_is_of(lease, connection->who) || lease->state != LEASE_RELEASED ||
		 lease->end_reason)
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
	{ "Request", on_request },
	{ "Watch", on_watch },
	{ "Release", on_release },
	{ "WhoAmI", on_who_am_i },
};

const struct container_method *container_method_find(const char *name)
{
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}
