#include "client/cli/leases/lease_list.h"

#include "client/cli/operator/link.h"
#include "client/cli/terminal/text.h"

static bool collect(json_t *parameters, void *data)
{
	json_t *all = data;

	(void)json_made(
		json_array_extend(all, json_object_get(parameters, "leases")) == 0 ? all : NULL);
	return true;
}

int lease_list(struct cli *cli, json_t *parameters, json_t **ret_leases, struct mayfly_error *err)
{
	AUTO_JSON json_t *leases = json_made(json_array());
	const struct operator_call call = { .method = "ListLeases",
		.parameters = parameters,
		.on_reply = collect,
		.data = leases };
	const int r = operator_call(cli, &call, NULL, err);

	if (r == 0)
		*ret_leases = ptr_take(&leases);
	return r;
}
