#include "client/cli/cli.h"

int cli_arena(struct cli *cli, struct arena **ret_arena, struct mayfly_error *err)
{
	int r = 0;

	if (!cli->arena)
		r = arena_new(CLI_ARENA_SIZE_BYTES, &cli->arena, err);
	if (r == 0)
		*ret_arena = cli->arena;
	return r;
}
