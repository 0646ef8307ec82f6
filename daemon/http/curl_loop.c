#include "daemon/http/curl_loop.h"

#include <errno.h>
#include <stdlib.h>

/* One socket of libcurl's. */
struct socket_watch {
	uv_poll_t poll;
	struct curl_loop *curl;
	curl_socket_t socket;
};

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
	struct socket_watch *watch = poll->data;
	struct curl_loop *curl = watch->curl;
	int running, flags = 0;

	/* Dropping the error would leave the transfer waiting for ever. */
	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(curl->multi, watch->socket, flags, &running);
	curl->on_action(curl->owner);
}

static struct socket_watch *watch_new(struct curl_loop *curl, curl_socket_t socket)
{
	struct socket_watch *watch = calloc(1, sizeof *watch);

	if (!watch)
		return NULL;
	if (uv_poll_init_socket(curl->loop, &watch->poll, socket) < 0) {
		free(watch);
		return NULL;
	}
	watch->poll.data = watch;
	watch->curl = curl;
	watch->socket = socket;
	(void)curl_multi_assign(curl->multi, socket, watch); /* fails for unknown sockets only */
	return watch;
}

static int on_socket_change(CURL *easy, curl_socket_t socket, int what, void *context, void *known)
{
	struct curl_loop *curl = context;
	struct socket_watch *watch = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			/* Stops polling at once: the number may be used again right after. */
			uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
		(void)curl_multi_assign(curl->multi, socket, NULL); /* as above */
		return 0;
	}
	if (!watch)
		watch = watch_new(curl, socket);
	if (!watch)
		return -1;
	return uv_poll_start(&watch->poll,
		       (what & CURL_POLL_IN ? UV_READABLE : 0) |
			       (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
		       on_socket_ready) == 0
		       ? 0
		       : -1;
}

static void on_timer(uv_timer_t *timer)
{
	struct curl_loop *curl = timer->data;
	int running;

	(void)curl_multi_socket_action(curl->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	curl->on_action(curl->owner);
}

static int on_timer_change(CURLM *multi, long timeout_ms, void *context)
{
	struct curl_loop *curl = context;

	(void)multi;
	if (timeout_ms < 0)
		return uv_timer_stop(&curl->timer);
	uv_update_time(curl->loop);
	return uv_timer_start(&curl->timer, on_timer, (uint64_t)timeout_ms, 0);
}

int curl_loop_init(struct curl_loop *curl, uv_loop_t *loop, long idle_connections)
{
	curl->multi = curl_multi_init();
	if (!curl->multi)
		return -ENOMEM;
	curl->loop = loop;
	(void)uv_timer_init(loop, &curl->timer); /* cannot fail */
	curl->timer.data = curl;
	/* None of these can fail for a handle that was made here. */
	(void)curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, on_socket_change);
	(void)curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, (void *)curl);
	(void)curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, on_timer_change);
	(void)curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, (void *)curl);
	(void)curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, idle_connections);
	return 0;
}

void *curl_loop_next_done(struct curl_loop *curl, CURLcode *ret_code)
{
	CURLMsg *message;
	int left;

	while (curl->multi && (message = curl_multi_info_read(curl->multi, &left))) {
		char *private = NULL;

		/* The message is gone once its handle is removed. */
		*ret_code = message->data.result;
		if (message->msg == CURLMSG_DONE && curl_easy_getinfo(message->easy_handle,
							    CURLINFO_PRIVATE, &private) == CURLE_OK)
			return private;
	}
	return NULL;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct curl_loop *curl = handle->data;

	curl->on_closed(curl->owner);
}

void curl_loop_close(struct curl_loop *curl)
{
	(void)curl_multi_cleanup(curl->multi); /* closes its sockets through on_socket_change() */
	curl->multi = NULL;
	uv_close((uv_handle_t *)&curl->timer, on_timer_closed);
}
