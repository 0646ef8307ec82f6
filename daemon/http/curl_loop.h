/* libcurl's sockets and its timer on a libuv loop, for the two processes that speak HTTP as clients: the
 * engine process to its engine, the broker to servers of secrets. Loop thread only; nothing blocks. */
#pragma once

#include <curl/curl.h>
#include <uv.h>

/* A member of the caller's struct. */
struct curl_loop {
	uv_timer_t timer;
	uv_loop_t *loop;
	CURLM *multi; /* NULL once it is closed */
	void *owner;
	/* After every action of libcurl's, outside of it: what has come, and curl_loop_next_done(). May close
	 * it. */
	void (*on_action)(void *owner);
	/* Nothing of it is used any more: OWNER may be freed. */
	void (*on_closed)(void *owner);
};

/* Keeps at most IDLE_CONNECTIONS open for later. The owner and the callbacks are set by the caller before. 0 or
 * -ENOMEM; then there is nothing to close. */
int curl_loop_init(struct curl_loop *curl, uv_loop_t *loop, long idle_connections);

/* The CURLOPT_PRIVATE of a transfer that is over, with its result; NULL: none is, or it is closed. */
void *curl_loop_next_done(struct curl_loop *curl, CURLcode *ret_code);

/* Every transfer was removed before. */
void curl_loop_close(struct curl_loop *curl);
