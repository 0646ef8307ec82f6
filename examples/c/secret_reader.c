/* Asks Mayfly for this container's secrets, reads them, and reads them again after one rotation.
 *
 *     cc secret_reader.c $(pkg-config --cflags --libs libmayfly) -o secret_reader */
#include <err.h>
#include <mayfly/mayfly.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 30000

static void must(enum mayfly_status status, const struct mayfly_failure *failure)
{
	if (status != MAYFLY_OK)
		errx(1, "%s%s%s", failure->text, failure->advice[0] ? "\n" : "", failure->advice);
}

/* Where a program takes its values: here they are counted. Returns false if they were replaced
 * meanwhile. */
static bool read_values(const struct mayfly_delivery *delivery)
{
	const char *target = mayfly_delivery_target(delivery);
	struct mayfly_generation *generation;
	struct mayfly_failure failure;
	bool is_whole = true;

	/* All values of one generation: a user's name and its password belong together. */
	must(mayfly_generation_open(target, &generation, &failure), &failure);
	for (size_t i = 0; is_whole && i < mayfly_delivery_file_count(delivery); i++) {
		const char *path = mayfly_delivery_file_path(delivery, i);
		struct mayfly_value *value;
		enum mayfly_status status = mayfly_generation_read(
			generation, path + strlen(target) + 1, 0, &value, &failure);

		is_whole = status != MAYFLY_ENDED;
		if (!is_whole)
			break;
		must(status, &failure);
		printf("  %s: %s version %llu, %zu bytes\n", path,
			mayfly_delivery_secret_name(delivery, i, 0),
			(unsigned long long)mayfly_delivery_secret_version(delivery, i, 0),
			mayfly_value_length(value));
		mayfly_value_free(value); /* wipes it */
	}
	mayfly_generation_close(generation);
	return is_whole;
}

static void use(const char *what, const struct mayfly_delivery *delivery)
{
	printf("%s: %s, generation %llu\n", what, mayfly_delivery_target(delivery),
		(unsigned long long)mayfly_delivery_generation(delivery));
	if (!read_values(delivery))
		printf("  replaced meanwhile: the next event says by what\n");
	fflush(stdout);
}

/* Waits until there is another generation than the one that LEASE had, and uses it. What happens
 * between the request and the watch is told as PRESENT: so the number counts, not the event. */
static void use_next(const char *lease, uint64_t generation)
{
	struct mayfly_watch *watch;
	struct mayfly_failure failure;
	bool is_done = false;

	must(mayfly_watch_open(NULL, &watch, &failure), &failure);
	while (!is_done) {
		enum mayfly_event event;
		struct mayfly_delivery *delivery;

		must(mayfly_watch_next(watch, -1, &event, &delivery, &failure), &failure);
		is_done = strcmp(mayfly_delivery_lease(delivery), lease) == 0 &&
			  mayfly_delivery_generation(delivery) > generation;
		if (is_done)
			use("rotated", delivery);
		mayfly_delivery_free(delivery);
	}
	mayfly_watch_close(watch);
}

int main(void)
{
	const struct mayfly_wanted wanted = { .wait_ms = TIMEOUT_MS };
	struct mayfly_failure failure;
	struct mayfly_delivery *delivery;
	struct mayfly *mayfly;

	must(mayfly_open(NULL, &mayfly, &failure), &failure);
	must(mayfly_request(mayfly, &wanted, TIMEOUT_MS, &delivery, &failure), &failure);
	use(mayfly_delivery_is_new(delivery) ? "delivered" : "was there already", delivery);
	use_next(mayfly_delivery_lease(delivery), mayfly_delivery_generation(delivery));
	mayfly_delivery_free(delivery);
	mayfly_close(mayfly);
	return 0;
}
