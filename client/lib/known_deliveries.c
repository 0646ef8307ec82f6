#include "client/lib/known_deliveries.h"

#include <string.h>

static struct known_delivery *find(struct known_deliveries *known, const char *lease)
{
	for (size_t i = 0; i < known->count; i++)
		if (strcmp(mayfly_delivery_lease(known->items[i].delivery), lease) == 0)
			return &known->items[i];
	return NULL;
}

/* Takes ITEM out; its reference goes to the caller. */
static struct mayfly_delivery *take(struct known_deliveries *known, struct known_delivery *item)
{
	struct mayfly_delivery *delivery = item->delivery;

	*item = known->items[--known->count];
	return delivery;
}

void known_deliveries_done(struct known_deliveries *known)
{
	while (known->count > 0)
		mayfly_delivery_free(take(known, known->items));
}

void known_deliveries_begin(struct known_deliveries *known)
{
	for (size_t i = 0; i < known->count; i++)
		known->items[i].is_confirmed = false;
}

/* Keeps DELIVERY in place of ITEM, or as one more. */
static void keep(struct known_deliveries *known, struct known_delivery *item,
	struct mayfly_delivery *delivery)
{
	if (!item && known->count == KNOWN_DELIVERIES_MAX)
		return;
	if (!item)
		item = &known->items[known->count++];
	else
		mayfly_delivery_free(item->delivery);
	*item = (struct known_delivery){ delivery_ref(delivery), true };
}

enum mayfly_event known_deliveries_note(
	struct known_deliveries *known, enum mayfly_event event, struct mayfly_delivery *delivery)
{
	struct known_delivery *item = find(known, mayfly_delivery_lease(delivery));
	const bool is_known = item != NULL;
	const bool is_same = is_known && mayfly_delivery_generation(item->delivery) ==
						 mayfly_delivery_generation(delivery);

	if (event == MAYFLY_EVENT_ENDED) {
		if (item)
			mayfly_delivery_free(take(known, item));
		return event;
	}
	keep(known, item, delivery);
	if (event != MAYFLY_EVENT_PRESENT || !is_known)
		return event;
	return is_same ? MAYFLY_EVENT_NONE : MAYFLY_EVENT_ROTATED;
}

struct mayfly_delivery *known_deliveries_take_ended(struct known_deliveries *known)
{
	for (size_t i = 0; i < known->count; i++)
		if (!known->items[i].is_confirmed)
			return take(known, &known->items[i]);
	return NULL;
}
