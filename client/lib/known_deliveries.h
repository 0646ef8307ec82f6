/* What a watch has told of, so that what happened while it was not connected can be told as a
 * change. Does no I/O. */
#pragma once

#include "client/lib/delivery.h"
#include "include/mayfly/watch.h"

/* More deliveries than this are told as they come. */
#define KNOWN_DELIVERIES_MAX 64

struct known_delivery {
	struct mayfly_delivery *delivery; /* a reference */
	bool is_confirmed;		  /* told of on this connection */
};

/* All zero is empty. */
struct known_deliveries {
	struct known_delivery items[KNOWN_DELIVERIES_MAX];
	size_t count;
};

void known_deliveries_done(struct known_deliveries *known);

/* A connection begins: nothing is confirmed on it yet. */
void known_deliveries_begin(struct known_deliveries *known);

/* What EVENT of DELIVERY, as the broker says it, is to the caller: MAYFLY_EVENT_NONE if it is known
 * already. Keeps a reference of its own. */
enum mayfly_event known_deliveries_note(
	struct known_deliveries *known, enum mayfly_event event, struct mayfly_delivery *delivery);

/* Takes out one that the broker, which has told of all, has not confirmed: it has ended. The caller
 * owns it; NULL if there is none. */
struct mayfly_delivery *known_deliveries_take_ended(struct known_deliveries *known);
