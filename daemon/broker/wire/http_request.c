#include "daemon/broker/wire/http_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A line of the head, without its end. */
struct line {
	const char *text;
	size_t length;
};

/* The next line at *AT before END; its end is CR LF or a bare LF (RFC 9112, 2.2). */
static bool next_line(const char **at, const char *end, struct line *line)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));

	if (!newline)
		return false;
	line->text = *at;
	line->length = (size_t)(newline - *at);
	if (line->length > 0 && line->text[line->length - 1] == '\r')
		line->length--;
	*at = newline + 1;
	return true;
}

static bool copy_word(const char *text, size_t length, char *word, size_t size)
{
	if (length == 0 || length >= size)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] > '~')
			return false;
	memcpy(word, text, length);
	word[length] = '\0';
	return true;
}

/* "POST /VolumeDriver.Mount HTTP/1.1" */
static int parse_request_line(const struct line *line, struct http_request *request)
{
	const char *end = line->text + line->length;
	const char *path = memchr(line->text, ' ', line->length);
	const char *version = path ? memchr(path + 1, ' ', (size_t)(end - path - 1)) : NULL;

	if (!version)
		return -400;
	if (!copy_word(line->text, (size_t)(path - line->text), request->method,
		    sizeof request->method))
		return -400;
	if (!copy_word(path + 1, (size_t)(version - path - 1), request->path, sizeof request->path))
		return version - path - 1 >= (ptrdiff_t)sizeof request->path ? -414 : -400;
	version++;
	if (end - version != 8 || memcmp(version, "HTTP/1.", 7) != 0)
		return -505;
	/* HTTP/1.0 closes unless it is asked not to; nobody asks. */
	request->keep_alive = version[7] == '1';
	return 0;
}

/* The value of the field NAME in LINE, without blanks around it; false when it is another field. */
static bool field_value(const struct line *line, const char *name, struct line *value)
{
	const size_t name_length = strlen(name);

	if (line->length <= name_length || line->text[name_length] != ':' ||
		strncasecmp(line->text, name, name_length) != 0)
		return false;
	value->text = line->text + name_length + 1;
	value->length = line->length - name_length - 1;
	while (value->length > 0 && (*value->text == ' ' || *value->text == '\t')) {
		value->text++;
		value->length--;
	}
	while (value->length > 0 &&
		(value->text[value->length - 1] == ' ' || value->text[value->length - 1] == '\t'))
		value->length--;
	return true;
}

static bool value_is(const struct line *value, const char *word)
{
	return value->length == strlen(word) && strncasecmp(value->text, word, value->length) == 0;
}

/* What the head says about the body. */
struct body_facts {
	bool has_length;
	size_t length;
	bool expects_continue;
};

static int parse_length(const struct line *value, struct body_facts *body)
{
	size_t length = 0;

	if (value->length == 0 || value->length > 10)
		return value->length == 0 ? -400 : -413;
	for (size_t i = 0; i < value->length; i++) {
		if (value->text[i] < '0' || value->text[i] > '9')
			return -400;
		length = length * 10 + (size_t)(value->text[i] - '0');
	}
	/* Two lengths that differ are how requests are smuggled. */
	if (body->has_length && body->length != length)
		return -400;
	body->has_length = true;
	body->length = length;
	return length > HTTP_BODY_MAX_BYTES ? -413 : 0;
}

static int parse_field(
	const struct line *line, struct http_request *request, struct body_facts *body)
{
	struct line value;

	if (line->text[0] == ' ' || line->text[0] == '\t' || !memchr(line->text, ':', line->length))
		return -400;
	if (field_value(line, "Content-Length", &value))
		return parse_length(&value, body);
	if (field_value(line, "Transfer-Encoding", &value))
		return -501;
	if (field_value(line, "Connection", &value) && value_is(&value, "close"))
		request->keep_alive = false;
	else if (field_value(line, "Expect", &value) && value_is(&value, "100-continue"))
		body->expects_continue = true;
	return 0;
}

int http_request_parse(const char *buffer, size_t length, struct http_request *ret_request)
{
	struct http_request request = { 0 };
	struct body_facts body = { 0 };
	const char *at = buffer, *end = buffer + length;
	struct line line;
	int r;

	ret_request->expects_continue = false;
	if (!next_line(&at, end, &line))
		return length >= HTTP_HEAD_MAX_BYTES ? -414 : -EAGAIN;
	r = parse_request_line(&line, &request);
	while (r == 0) {
		if (!next_line(&at, end, &line))
			return length >= HTTP_HEAD_MAX_BYTES ? -431 : -EAGAIN;
		if (line.length == 0)
			break;
		r = at - buffer > HTTP_HEAD_MAX_BYTES ? -431 : parse_field(&line, &request, &body);
	}
	if (r < 0)
		return r;
	if (!body.has_length && strcmp(request.method, "POST") == 0)
		return -411;
	if ((size_t)(end - at) < body.length) {
		ret_request->expects_continue = body.expects_continue;
		return -EAGAIN;
	}
	request.body = at;
	request.body_length = body.length;
	request.length = (size_t)(at - buffer) + body.length;
	*ret_request = request;
	return 0;
}

const char *http_status_text(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Error";
	}
}
