/* Naive control: a start of the broker knows nothing of what was delivered before. */
#define lease_adopt_all checked_lease_adopt_all
#include "daemon/broker/lease/adopt/lease_adopt.c"
#undef lease_adopt_all

int lease_adopt_all(struct lease_context *context, json_t *rows, void (*on_adopted)(void *data),
	void *data, struct mayfly_error *err);

int lease_adopt_all(struct lease_context *context, json_t *rows, void (*on_adopted)(void *data),
	void *data, struct mayfly_error *err)
{
	(void)context;
	(void)rows;
	(void)err;
	on_adopted(data);
	return 0;
}
