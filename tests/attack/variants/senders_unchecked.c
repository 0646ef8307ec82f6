/* Naive control: whoever sends on a connection is taken for the process that has connected. */
#define varlink_exchange_is_foreign checked_varlink_exchange_is_foreign
#include "daemon/broker/wire/varlink_server.c"
#undef varlink_exchange_is_foreign

bool varlink_exchange_is_foreign(const struct varlink_exchange *exchange);

bool varlink_exchange_is_foreign(const struct varlink_exchange *exchange)
{
	(void)exchange;
	return false;
}
