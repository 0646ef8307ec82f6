#include "daemon/engine/restarts.h"

#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The start that follows: its mounts wait for the broker. */
#define MARGIN_MS 30000

#define ANSWER_MAX_BYTES 65536

/* Of what the engine said. */
#define WORDS_SIZE 400

struct restart {
	struct restart *next;
	struct restarts *restarts;
	struct docker_call *call;
	json_int_t serial;
	char id[CONTAINER_ID_LENGTH + 1];
	unsigned timeout_s;
	bool is_for_nobody; /* the broker that asked has gone */
};

/* The end of RESTART, whose memory it takes. */
static void finish(struct restart *restart, const char *error)
{
	const struct restarts_owner *owner = &restart->restarts->owner;
	json_t *frame = NULL;
	int r;

	if (!restart->is_for_nobody) {
		frame = json_pack("{s:s, s:I, s:s?}", "type", "done", "serial", restart->serial,
			"error", error);
		r = frame ? owner->send(owner->context, frame) : -ENOMEM;
		if (r < 0)
			log_error("the end of a restart was not told: %s", strerrordesc_np(-r));
	}
	json_decref(frame);
	free(restart);
}

/* Names that the engine's users chose stand in what it says. */
static void write_words(const struct docker_answer *answer, char *buffer, size_t size)
{
	json_t *body = json_loadb(answer->body, answer->length, 0, NULL);
	const char *message = json_string_value(json_object_get(body, "message"));

	if (message)
		(void)error_quote(buffer, size, message, strlen(message));
	else
		(void)snprintf(buffer, size, "the engine answered with status %ld", answer->status);
	json_decref(body);
}

static void leave(struct restart *restart)
{
	struct restart **place = &restart->restarts->under_way;

	while (*place != restart)
		place = &(*place)->next;
	*place = restart->next;
	restart->restarts->under_way_count--;
}

static void start_waiting(struct restarts *restarts);

static void on_answered(void *context, const struct docker_answer *answer)
{
	struct restart *restart = context;
	struct restarts *restarts = restart->restarts;
	char words[WORDS_SIZE] = "";

	restart->call = NULL;
	leave(restart);
	if (answer->error == -ETIMEDOUT)
		(void)snprintf(words, sizeof words, "the engine has not restarted it in %u s",
			restart->timeout_s + restarts->margin_ms / 1000);
	else if (answer->error < 0)
		(void)snprintf(words, sizeof words, "the engine has not answered: %s", answer->why);
	else if (answer->status < 200 || answer->status > 299)
		write_words(answer, words, sizeof words);
	finish(restart, words[0] ? words : NULL);
	start_waiting(restarts);
}

static int call(struct restart *restart, struct mayfly_error *err)
{
	struct restarts *restarts = restart->restarts;
	char path[CONTAINER_ID_LENGTH + 64], versioned[sizeof path + 32];
	const struct docker_request request = {
		.path = versioned,
		.timeout_ms = restart->timeout_s * 1000 + restarts->margin_ms,
		.limit_bytes = ANSWER_MAX_BYTES,
		.context = restart,
		.on_done = on_answered,
	};

	if (!engine_link_is_connected(restarts->link))
		return error_set(err, -ENOTCONN, "the engine does not answer%s%s",
			restarts->link->detail[0] ? ": " : "", restarts->link->detail);
	/* Without `t` the engine gives it the time to end that the container itself asks for. */
	(void)snprintf(path, sizeof path, "/containers/%s/restart", restart->id);
	engine_link_path(restarts->link, path, versioned, sizeof versioned);
	return docker_http_post(restarts->link->http, &request, &restart->call, err);
}

static struct restart *take_waiting(struct restarts *restarts)
{
	struct restart *first = restarts->waiting;

	restarts->waiting = first->next;
	if (!restarts->waiting)
		restarts->end_of_waiting = &restarts->waiting;
	restarts->waiting_count--;
	return first;
}

static void start_waiting(struct restarts *restarts)
{
	while (restarts->waiting && restarts->under_way_count < RESTARTS_AT_ONCE) {
		struct restart *restart = take_waiting(restarts);
		struct mayfly_error error;

		if (call(restart, &error) < 0) {
			finish(restart, error.text);
			continue;
		}
		restart->next = restarts->under_way;
		restarts->under_way = restart;
		restarts->under_way_count++;
	}
}

int restarts_add(struct restarts *restarts, json_int_t serial, const char *id, unsigned timeout_s)
{
	struct restart *restart = calloc(1, sizeof *restart);
	char words[64];

	if (!restart)
		return -ENOMEM;
	restart->restarts = restarts;
	restart->serial = serial;
	restart->timeout_s = timeout_s;
	memcpy(restart->id, id, sizeof restart->id);
	if (restarts->waiting_count == RESTARTS_WAITING_MAX) {
		(void)snprintf(words, sizeof words,
			"%d restarts wait already, this one is too many", RESTARTS_WAITING_MAX);
		finish(restart, words);
		return 0;
	}
	*restarts->end_of_waiting = restart;
	restarts->end_of_waiting = &restart->next;
	restarts->waiting_count++;
	start_waiting(restarts);
	return 0;
}

void restarts_forget(struct restarts *restarts)
{
	while (restarts->waiting)
		free(take_waiting(restarts));
	for (struct restart *restart = restarts->under_way; restart; restart = restart->next)
		restart->is_for_nobody = true;
}

void restarts_open(
	struct restarts *restarts, struct engine_link *link, const struct restarts_owner *owner)
{
	*restarts = (struct restarts){ .link = link, .owner = *owner, .margin_ms = MARGIN_MS };
	restarts->end_of_waiting = &restarts->waiting;
}

void restarts_close(struct restarts *restarts)
{
	restarts_forget(restarts);
	while (restarts->under_way) {
		struct restart *restart = restarts->under_way;

		docker_call_cancel(restart->call);
		leave(restart);
		free(restart);
	}
}
