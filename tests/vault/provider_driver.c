/* The provider by itself, for the tests in Python: reads commands on standard input, prints what
 * comes of them as lines of JSON. Values are printed: they are the tests' own.
 *   provider_driver CONFIG STATE_DIRECTORY
 *	begin | status | exit | stop
 *	read TAG SET NAME LIMIT_MS	watch SET NAME		unwatch SET NAME
 *	lease TAG SET PATH HOLDER	release TAG		recover HOLDER (that is still there)
 *	bench SET NAME COUNT fresh|asked: reads one after the other, from memory or each from the server
 *	outdate SET NAME		memory WORD (is WORD anywhere in our memory outside the arena?) */
#include "daemon/broker/https/wiping_memory.h"
#include "daemon/broker/vault/vault_lease.h"
#include "daemon/broker/vault/vault_sets.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct driver {
	uv_loop_t loop;
	uv_pipe_t input;
	struct arena *arena;
	struct store *store;
	struct value_keeper keeper;
	struct config *config;
	struct vault_sets sets;
	struct state_db *state;
	struct vault_leases leases;
	struct held *held;
	const char *alive;
	char line[4096];
	size_t length;
	char buffer[4096];
};

/* A lease, as the tests call it. */
struct held {
	struct held *next;
	struct driver *driver;
	struct vault_lease *lease;
	char tag[64];
};

struct reading {
	struct vault_reader reader;
	struct driver *driver;
	const struct vault_backend *backend;
	struct secret_selector target;
	uint64_t started_ms;
	char tag[64];
};

static void print(json_t *object)
{
	(void)json_dumpf(object, stdout, JSON_COMPACT);
	(void)putchar('\n');
	(void)fflush(stdout);
	json_decref(object);
}

static int pick(struct reading *reading, struct vault_value *value, struct secret *ret_value,
	struct mayfly_error *err)
{
	AUTO_SECRET map = { 0 };
	int r = held_value_open(&reading->driver->keeper, &value->map, &map, err);

	if (r == 0)
		r = vault_pick((struct json_slice){ (const char *)map.bytes, map.length },
			reading->target.field, reading->backend->config->value_field,
			reading->driver->arena, ret_value, err);
	return r;
}

static void on_value(struct vault_reader *reader, int status, struct vault_value *value,
	bool is_stale, const struct mayfly_error *from)
{
	struct reading *reading = container_of(reader, struct reading, reader);
	struct mayfly_error err = *from;
	AUTO_SECRET picked = { 0 };
	json_t *answer;

	if (status == 0)
		status = pick(reading, value, &picked, &err);
	answer = json_pack("{s:s, s:i, s:s, s:b, s:i, s:I}", "tag", reading->tag, "status", status,
		"error", status ? err.text : "", "stale", is_stale, "version",
		value ? (int)value->version : -1, "ms",
		(json_int_t)(uv_now(&reading->driver->loop) - reading->started_ms));
	/* A value that is printed is in stdio's memory. */
	if (status == 0 && reading->tag[0] != 'q')
		(void)json_object_set_new(
			answer, "value", json_stringn((const char *)picked.bytes, picked.length));
	print(answer);
	free(reading);
}

static void start_read(struct driver *driver, const char *tag, const char *set, const char *name,
	uint32_t limit_ms)
{
	struct reading *reading = calloc(1, sizeof *reading);
	struct mayfly_error err;

	uv_update_time(&driver->loop);
	reading->driver = driver;
	reading->started_ms = uv_now(&driver->loop);
	reading->reader.on_value = on_value;
	(void)snprintf(reading->tag, sizeof reading->tag, "%s", tag);
	reading->backend = vault_sets_find(&driver->sets, set);
	if (!reading->backend ||
		vault_backend_target(reading->backend, name, &reading->target, &err) < 0) {
		print(json_pack("{s:s, s:i, s:s}", "tag", tag, "status", -EINVAL, "error",
			reading->backend ? err.text : "no such set"));
		free(reading);
		return;
	}
	vault_read((struct vault_backend *)(uintptr_t)reading->backend, reading->target.name,
		reading->target.version, limit_ms, &reading->reader);
}

/* ---- How long a reading takes. ---- */

struct bench {
	struct vault_reader reader;
	struct driver *driver;
	struct vault_backend *backend;
	struct secret_selector target;
	bool is_asked;
	uint64_t started_ns, first_ns;
	size_t count, done;
	uint32_t *times_us;
};

static int by_size(const void *a, const void *b)
{
	const uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;

	return (one > two) - (one < two);
}

static void bench_next(struct bench *bench)
{
	if (bench->is_asked)
		vault_backend_outdate(bench->backend, bench->target.name);
	bench->started_ns = uv_hrtime();
	vault_read(bench->backend, bench->target.name, 0, 4500, &bench->reader);
}

static void on_bench_value(struct vault_reader *reader, int status, struct vault_value *value,
	bool is_stale, const struct mayfly_error *err)
{
	struct bench *bench = container_of(reader, struct bench, reader);
	AUTO_SECRET map = { 0 }, picked = { 0 };
	struct mayfly_error error;

	(void)is_stale;
	(void)err;
	if (status == 0 && held_value_open(&bench->driver->keeper, &value->map, &map, &error) == 0)
		status = vault_pick((struct json_slice){ (const char *)map.bytes, map.length },
			bench->target.field, "value", bench->driver->arena, &picked, &error);
	if (status == 0)
		bench->times_us[bench->done++] =
			(uint32_t)((uv_hrtime() - bench->started_ns) / 1000);
	if (status == 0 && bench->done < bench->count) {
		bench_next(bench);
		return;
	}
	qsort(bench->times_us, bench->done, sizeof bench->times_us[0], by_size);
	print(json_pack("{s:I, s:I, s:I, s:f}", "bench", (json_int_t)bench->done, "p50_us",
		(json_int_t)bench->times_us[bench->done / 2], "p99_us",
		(json_int_t)bench->times_us[bench->done * 99 / 100], "per_s",
		(double)bench->done * 1e9 / (double)(uv_hrtime() - bench->first_ns)));
	free(bench->times_us);
	free(bench);
}

static void start_bench(
	struct driver *driver, const char *set, const char *name, size_t count, bool is_asked)
{
	struct bench *bench = calloc(1, sizeof *bench);
	struct mayfly_error err;

	bench->driver = driver;
	bench->backend = vault_sets_find(&driver->sets, set);
	bench->count = count;
	bench->is_asked = is_asked;
	bench->times_us = calloc(count + 1, sizeof bench->times_us[0]);
	bench->reader.on_value = on_bench_value;
	bench->first_ns = uv_hrtime();
	if (vault_backend_target(bench->backend, name, &bench->target, &err) == 0)
		bench_next(bench);
}

/* ---- Leases. ---- */

static struct held *held_new(struct driver *driver, const char *tag)
{
	struct held *held = calloc(1, sizeof *held);

	held->driver = driver;
	(void)snprintf(held->tag, sizeof held->tag, "%s", tag);
	held->next = driver->held;
	driver->held = held;
	return held;
}

static void on_lease(void *context, struct vault_lease *lease, int status,
	struct vault_value *value, const struct mayfly_error *err)
{
	struct held *held = context;
	AUTO_SECRET map = { 0 };
	json_t *answer = json_pack("{s:s, s:i, s:s, s:s}", "lease", held->tag, "status", status,
		"error", status ? err->text : "", "holder", vault_lease_holder(lease));

	held->lease = status == 0 ? lease : NULL;
	if (status == 0 && held_value_open(&held->driver->keeper, &value->map, &map, NULL) == 0)
		(void)json_object_set_new(
			answer, "map", json_loadb((const char *)map.bytes, map.length, 0, NULL));
	print(answer);
}

static void on_ending(void *context, struct vault_lease *lease)
{
	struct driver *driver = context;

	for (struct held *held = driver->held; held; held = held->next)
		if (held->lease == lease)
			print(json_pack("{s:s}", "ending", held->tag));
}

static bool is_alive(void *context, const char *holder)
{
	const struct driver *driver = context;

	return strcmp(driver->alive, holder) == 0;
}

static void on_adopted(void *context, struct vault_lease *lease)
{
	struct held *held = held_new(context, vault_lease_holder(lease));

	held->lease = lease;
	print(json_pack("{s:s}", "adopted", held->tag));
}

static void start_lease(struct driver *driver, const char *tag, const char *set, const char *path,
	const char *holder)
{
	struct held *held = held_new(driver, tag);
	struct mayfly_error err;

	if (vault_lease_acquire(
		    &driver->leases, set, path, holder, held, on_lease, &held->lease, &err) < 0)
		print(json_pack("{s:s, s:s}", "lease", tag, "error", err.text));
}

static void release(struct driver *driver, const char *tag)
{
	for (struct held *held = driver->held; held; held = held->next)
		if (strcmp(held->tag, tag) == 0 && held->lease) {
			vault_lease_release(held->lease);
			held->lease = NULL;
		}
}

static void recover(struct driver *driver, const char *alive)
{
	struct mayfly_error err;

	driver->alive = alive;
	if (vault_leases_recover(&driver->leases, is_alive, on_adopted, &err) < 0)
		print(json_pack("{s:s}", "error", err.text));
	print(json_pack("{s:I}", "recovered", (json_int_t)vault_leases_pending(&driver->leases)));
}

static void on_alarm(void *context, const char *text)
{
	(void)context;
	print(json_pack("{s:s}", "alarm", text));
}

static void on_changed(void *context, const char *set, const char *path, uint32_t version)
{
	(void)context;
	print(json_pack("{s:s, s:s, s:i}", "changed", path, "set", set, "version", (int)version));
}

static void on_drained(void *data)
{
	(void)data;
	print(json_pack("{s:b}", "stopped", true));
	_exit(0);
}

static void on_stopped(void *context)
{
	struct driver *driver = context;

	serial_queue_drain(&driver->sets.cache.queue, on_drained, driver);
}

/* Whether WORD lies in writable memory that is not the arena: what a library has left behind. WORD
 * comes scrambled, so that the search does not find itself. */
static size_t copies_of(const char *word, const struct driver *driver)
{
#ifdef MAYFLY_SANITIZED
	/* A sanitizer's shadow of all memory has terabytes. */
	(void)word;
	(void)driver;
	return 0;
#endif
	const unsigned long key = (unsigned long)driver->keeper.key.bytes;
	const size_t length = strlen(word);
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	size_t found = 0;

	while (maps && fgets(line, sizeof line, maps)) {
		unsigned long start, end;
		char rights[8];

		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || rights[1] != 'w' ||
			strstr(line, "[stack]") || (start <= key && key < end) ||
			(start <= (unsigned long)driver && (unsigned long)driver < end))
			continue;
		for (const char *at = (const char *)start; at + length < (const char *)end; at++)
			found += (at[0] ^ 1) == word[0] && ({
				size_t i = 0;
				while (i < length && (at[i] ^ 1) == word[i])
					i++;
				i == length;
			});
	}
	if (maps)
		(void)fclose(maps);
	return found;
}

static void target_call(struct driver *driver, const char *what, const char *set, const char *name)
{
	struct vault_backend *backend = vault_sets_find(&driver->sets, set);
	struct secret_selector target;
	struct mayfly_error err;

	if (!backend || vault_backend_target(backend, name, &target, &err) < 0)
		return;
	if (strcmp(what, "watch") == 0)
		(void)vault_watch(backend, target.name, 0);
	else if (strcmp(what, "unwatch") == 0)
		vault_unwatch(backend, target.name);
	else
		vault_backend_outdate(backend, target.name);
}

static void run_command(struct driver *driver, char *line)
{
	char what[32] = "", a[128] = "", b[128] = "", c[300] = "", d[32] = "";

	(void)sscanf(line, "%31s %127s %127s %299s %31s", what, a, b, c, d);
	if (strcmp(what, "read") == 0)
		start_read(driver, a, b, c, (uint32_t)atoi(d));
	else if (strcmp(what, "begin") == 0)
		vault_sets_begin(&driver->sets);
	else if (strcmp(what, "status") == 0)
		print(json_pack("{s:o}", "status", vault_sets_status(&driver->sets)));
	else if (strcmp(what, "memory") == 0)
		print(json_pack("{s:I}", "copies", (json_int_t)copies_of(a, driver)));
	else if (strcmp(what, "bench") == 0)
		start_bench(driver, a, b, (size_t)atoi(c), strcmp(d, "asked") == 0);
	else if (strcmp(what, "lease") == 0)
		start_lease(driver, a, b, c, d);
	else if (strcmp(what, "release") == 0)
		release(driver, a);
	else if (strcmp(what, "recover") == 0)
		recover(driver, a);
	else if (strcmp(what, "arena") == 0)
		print(json_pack("{s:I}", "arena", (json_int_t)arena_used_bytes(driver->arena)));
	else if (strcmp(what, "stop") == 0)
		vault_sets_stop(&driver->sets, on_stopped);
	else if (strcmp(what, "exit") == 0)
		_exit(0);
	else
		target_call(driver, what, a, b);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
	struct driver *driver = handle->data;

	(void)size;
	*buffer = uv_buf_init(driver->buffer, sizeof driver->buffer);
}

static void on_input(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct driver *driver = stream->data;

	if (count < 0)
		_exit(0);
	for (ssize_t i = 0; i < count; i++) {
		if (buffer->base[i] != '\n' && driver->length < sizeof driver->line - 1) {
			driver->line[driver->length++] = buffer->base[i];
			continue;
		}
		driver->line[driver->length] = '\0';
		driver->length = 0;
		run_command(driver, driver->line);
	}
}

static int open_store(struct driver *driver, const char *directory, struct mayfly_error *err)
{
	AUTO_SECRET key = { 0 }, recovery = { 0 }, audit = { 0 };
	struct store_init_args args = { .host_key = &key, .audit_key = &audit };
	int r = store_open(directory, driver->arena, &driver->store, err);

	if (r == 0)
		r = secret_new(driver->arena, HOST_KEY_BYTES, &key, err);
	if (r == 0)
		r = secret_new(driver->arena, 32, &audit, err);
	if (r < 0)
		return r;
	memset(key.bytes, 7, key.length);
	if (store_state(driver->store, NULL) == STORE_UNINITIALISED)
		return store_init(driver->store, &args, &recovery, err);
	return store_unlock(driver->store, SLOT_HOST_KEY, &key, err);
}

static int read_config(struct driver *driver, const char *path, struct mayfly_error *err)
{
	struct complaints complaints = { 0 };
	json_t *json = json_load_file(path, 0, NULL);
	AUTO_FREE char *text = json ? json_dumps(json, 0) : NULL;

	json_decref(json);
	if (!text)
		return error_set(err, -EINVAL, "no configuration");
	if (config_parse(path, text, strlen(text), &driver->config, &complaints) < 0)
		return complaints_to_error(&complaints, err);
	return 0;
}

static int start(struct driver *driver, char **argv, struct mayfly_error *err)
{
	int r = wiping_memory_install(err);

	if (r == 0)
		r = arena_new(ARENA_SIZE_BYTES, &driver->arena, err);
	if (r == 0)
		r = value_keeper_init(&driver->keeper, driver->arena, err);
	if (r == 0)
		r = read_config(driver, argv[1], err);
	if (r == 0)
		r = open_store(driver, argv[2], err);
	if (r == 0)
		r = state_db_open(argv[2], &driver->state, err);
	if (r < 0)
		return r;
	driver->sets = (struct vault_sets){ .loop = &driver->loop,
		.arena = driver->arena,
		.keeper = &driver->keeper,
		.store = driver->store,
		.may_connect = true,
		.context = driver,
		.on_alarm = on_alarm,
		.on_changed = on_changed };
	vault_sets_init(&driver->sets);
	driver->leases = (struct vault_leases){ .loop = &driver->loop,
		.state = driver->state,
		.sets = &driver->sets,
		.context = driver,
		.on_ending = on_ending };
	vault_leases_init(&driver->leases);
	return vault_sets_apply(&driver->sets, driver->config, err);
}

int main(int argc, char **argv)
{
	static struct driver driver;
	struct mayfly_error err;

	log_init("driver", 0);
	if (argc != 3 || sodium_init() < 0 || uv_loop_init(&driver.loop) < 0)
		return 2;
	if (start(&driver, argv, &err) < 0) {
		log_error("%s", err.text);
		return 1;
	}
	(void)uv_pipe_init(&driver.loop, &driver.input, 0);
	driver.input.data = &driver;
	if (uv_pipe_open(&driver.input, 0) < 0)
		return 1;
	(void)uv_read_start((uv_stream_t *)&driver.input, on_alloc, on_input);
	print(json_pack("{s:b}", "ready", true));
	return uv_run(&driver.loop, UV_RUN_DEFAULT);
}
