#include "proto/varlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

ssize_t varlink_message_length(const char *buffer, size_t length)
{
	const size_t searched =
		length < VARLINK_MESSAGE_MAX_BYTES ? length : VARLINK_MESSAGE_MAX_BYTES;
	const char *end = memchr(buffer, '\0', searched);

	if (end)
		return end - buffer;
	return length >= VARLINK_MESSAGE_MAX_BYTES ? -EMSGSIZE : -EAGAIN;
}

static json_t *object_parse(const char *text, size_t length, struct mayfly_error *err)
{
	json_error_t where;
	json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);

	if (!message) {
		(void)error_set(err, -EBADMSG, "a message that is no JSON: %s at byte %d",
			where.text, where.position);
		return NULL;
	}
	if (!json_is_object(message)) {
		json_decref(message);
		(void)error_set(err, -EBADMSG, "a message that is no JSON object");
		return NULL;
	}
	return message;
}

/* The object at "parameters", made empty when absent; NULL when it is something else. */
static json_t *parameters_of(json_t *message)
{
	json_t *parameters = json_object_get(message, "parameters");

	if (parameters && !json_is_null(parameters))
		return json_is_object(parameters) ? parameters : NULL;
	if (json_object_set_new(message, "parameters", json_object()) != 0)
		return NULL;
	return json_object_get(message, "parameters");
}

int varlink_call_parse(
	const char *text, size_t length, struct varlink_call *ret_call, struct mayfly_error *err)
{
	struct varlink_call call = { .message = object_parse(text, length, err) };

	if (!call.message)
		return -EBADMSG;
	call.method = json_string_value(json_object_get(call.message, "method"));
	call.parameters = parameters_of(call.message);
	call.more = json_is_true(json_object_get(call.message, "more"));
	call.oneway = json_is_true(json_object_get(call.message, "oneway"));
	if (!call.method || !call.parameters) {
		varlink_call_done(&call);
		return error_set(err, -EBADMSG,
			"a call without a method, or with parameters that are no object");
	}
	*ret_call = call;
	return 0;
}

void varlink_call_done(struct varlink_call *call)
{
	json_decref(call->message);
	*call = (struct varlink_call){ 0 };
}

int varlink_reply_parse(
	const char *text, size_t length, struct varlink_reply *ret_reply, struct mayfly_error *err)
{
	struct varlink_reply reply = { .message = object_parse(text, length, err) };

	if (!reply.message)
		return -EBADMSG;
	reply.parameters = parameters_of(reply.message);
	reply.error = json_string_value(json_object_get(reply.message, "error"));
	reply.continues = json_is_true(json_object_get(reply.message, "continues"));
	if (!reply.parameters) {
		varlink_reply_done(&reply);
		return error_set(err, -EBADMSG, "a reply whose parameters are no object");
	}
	*ret_reply = reply;
	return 0;
}

void varlink_reply_done(struct varlink_reply *reply)
{
	json_decref(reply->message);
	*reply = (struct varlink_reply){ 0 };
}

/* Takes over MESSAGE. */
static int message_encode(json_t *message, char **ret_text, size_t *ret_length)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t length;

	json_decref(message);
	if (!text)
		return -ENOMEM;
	length = strlen(text) + 1;
	if (length > VARLINK_MESSAGE_MAX_BYTES) {
		free(text);
		return -EMSGSIZE;
	}
	*ret_text = text;
	*ret_length = length;
	return 0;
}

int varlink_call_encode(
	const char *method, json_t *parameters, bool more, char **ret_text, size_t *ret_length)
{
	json_t *message = json_pack("{s:s, s:O*}", "method", method, "parameters", parameters);

	if (message && more && json_object_set_new(message, "more", json_true()) != 0) {
		json_decref(message);
		return -ENOMEM;
	}
	return message_encode(message, ret_text, ret_length);
}

int varlink_reply_encode(json_t *parameters, bool continues, char **ret_text, size_t *ret_length)
{
	json_t *empty = parameters ? json_incref(parameters) : json_object();
	json_t *message = json_pack("{s:o}", "parameters", empty);

	if (message && continues && json_object_set_new(message, "continues", json_true()) != 0) {
		json_decref(message);
		return -ENOMEM;
	}
	return message_encode(message, ret_text, ret_length);
}

int varlink_error_encode(const char *error, json_t *parameters, char **ret_text, size_t *ret_length)
{
	return message_encode(json_pack("{s:s, s:O*}", "error", error, "parameters", parameters),
		ret_text, ret_length);
}
