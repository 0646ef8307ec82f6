/* Fills a store that nobody has open: fill_store DIRECTORY HOST-KEY COUNT. For the start of a large
 * one. */
#include "daemon/broker/store/store.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void must(int result, const struct mayfly_error *err)
{
	if (result >= 0)
		return;
	(void)fprintf(stderr, "%s\n", err->text);
	exit(EXIT_FAILURE);
}

static void fill(struct store *store, struct arena *arena, unsigned count)
{
	AUTO_SECRET value = { 0 };
	struct mayfly_error err;

	must(secret_new(arena, 32, &value, &err), &err);
	for (unsigned i = 0; i < count; i++) {
		struct secret_reference reference = { .set = "prod" };
		enum put_outcome outcome;
		uint32_t version;

		(void)snprintf(reference.name, sizeof reference.name, "service-%u/password", i);
		must(store_put(store, &reference, &value, false, &outcome, &version, &err), &err);
	}
}

int main(int argc, char **argv)
{
	struct mayfly_error err;
	struct arena *arena;
	struct store *store;
	AUTO_SECRET key = { 0 };
	AUTO_FD fd = -1;

	if (argc != 4)
		return 2;
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	must(arena_new((size_t)16 * 1024 * 1024, &arena, &err), &err);
	must(secret_new(arena, HOST_KEY_BYTES, &key, &err), &err);
	if (read(fd, key.bytes, key.length) != (ssize_t)key.length)
		return EXIT_FAILURE;
	must(store_open(argv[1], arena, &store, &err), &err);
	must(store_unlock(store, SLOT_HOST_KEY, &key, &err), &err);
	fill(store, arena, (unsigned)atoi(argv[3]));
	store_close(store);
	return EXIT_SUCCESS;
}
