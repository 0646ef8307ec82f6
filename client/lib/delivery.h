/* Deliveries, made of replies. They are counted, as a watch remembers what it has told. */
#pragma once

#include "client/lib/wire/reply.h"
#include "include/mayfly/delivery.h"

/* Makes a delivery of the member "delivery" of REPLY, whose contents it takes on success; METHOD is
 * for the text. *RET_DELIVERY has one reference. MAYFLY_BAD_REPLY, MAYFLY_NO_MEMORY. */
enum mayfly_status delivery_read(struct reply *reply, const char *method,
	struct mayfly_delivery **ret_delivery, struct mayfly_failure *failure);

/* One reference more; mayfly_delivery_free() takes one away. Returns DELIVERY. */
struct mayfly_delivery *delivery_ref(struct mayfly_delivery *delivery);

static inline void delivery_free_p(struct mayfly_delivery **delivery)
{
	mayfly_delivery_free(*delivery);
	*delivery = NULL;
}
