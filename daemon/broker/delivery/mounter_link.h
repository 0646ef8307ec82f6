/* The broker's end of the mounter: requests out, replies matched to them.
 * Requests of one delivery are answered in order; replies of different deliveries may overtake each
 * other. When the mounter dies every open request fails with -ECONNRESET, and on_lost is told; the
 * supervisor brings a new end. Loop thread only. */
#pragma once

#include "proto/error.h"
#include "proto/mounter_protocol.h"

#include <stdbool.h>
#include <uv.h>

struct mounter_link;

/* REPLY->status says how it went (-ECONNRESET without a mounter). FD is the reply's descriptor,
 * owned by the callback, -1 without one. */
typedef void mounter_reply_function(const struct mounter_reply *reply, int fd, void *data);

/* FD is the link's to close. ON_LOST is called when the mounter has gone, after all open requests
 * were failed. */
int mounter_link_new(uv_loop_t *loop, int fd, void (*on_lost)(void *data), void *data,
	struct mounter_link **ret_link, struct mayfly_error *err);

/* A new mounter's end, which the link takes over. */
int mounter_link_replace(struct mounter_link *link, int fd, struct mayfly_error *err);

bool mounter_link_is_up(const struct mounter_link *link);

/* Sends REQUEST (its serial is set here) with COUNT (at most 2) descriptors, which stay the
 * caller's. Returns 0, and ON_REPLY is called exactly once, never before this returns; or a
 * negative errno, and it is never called. */
int mounter_link_send(struct mounter_link *link, struct mounter_request *request, const int *fds,
	size_t count, mounter_reply_function *on_reply, void *data);

/* Fails what is open and frees the link (from the loop). */
void mounter_link_close(struct mounter_link *link);
