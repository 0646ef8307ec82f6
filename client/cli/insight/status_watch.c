#include "client/cli/insight/status_watch.h"

#include "client/cli/leases/lease_list.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS  1000
#define ROWS_DEFAULT 40
#define ROWS_LEAST   8
#define PAGE_WIDTH   80
#define LENGTH_SIZE  24

/* One look. */
struct look {
	json_t *status; /* NULL: the broker was not reachable */
	json_t *leases;
	struct mayfly_error problem;
};

static void look_done(struct look *look)
{
	json_decref(look->status);
	json_decref(look->leases);
	*look = (struct look){ 0 };
}

static void take_look(struct cli *cli, struct look *look)
{
	struct mayfly_error err = { 0 };
	int r = operator_ask(cli, "Status", NULL, &look->status, &err);

	if (r == 0)
		r = lease_list(cli, NULL, &look->leases, &err);
	if (r == 0)
		return;
	look_done(look);
	look->problem = err;
	/* The next look connects anew. */
	operator_link_close(cli->link);
	cli->link = NULL;
}

/* --- a page --- */

/* How many lines are left of the page; those of a file have no end. */
struct page {
	bool is_terminal;
	int lines;
};

static struct page page_begin(void)
{
	struct page page = { .is_terminal = isatty(STDOUT_FILENO), .lines = 1000000 };
	struct winsize size;

	if (!page.is_terminal)
		return page;
	page.lines = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > ROWS_LEAST
			     ? size.ws_row - 1
			     : ROWS_DEFAULT;
	(void)fputs("\033[H", stdout);
	return page;
}

/* TEXT, cut to a line's width; the rest of the old line goes. */
static void line(struct page *page, enum paint paint, const char *text)
{
	if (page->lines-- <= 0)
		return;
	say_painted(paint, "%.*s", PAGE_WIDTH, text);
	(void)fputs(page->is_terminal ? "\033[K\n" : "\n", stdout);
}

static void page_end(const struct page *page)
{
	(void)fputs(page->is_terminal ? "\033[J" : "\n", stdout);
	(void)fflush(stdout);
}

static void length_text(char text[LENGTH_SIZE], json_t *lease, const char *key)
{
	json_t *number = json_object_get(lease, key);
	const long long s = json_integer_value(number);

	if (!json_is_integer(number))
		(void)snprintf(text, LENGTH_SIZE, "-");
	else if (s < 120)
		(void)snprintf(text, LENGTH_SIZE, "%lld s", s < 0 ? 0 : s);
	else if (s < 7200)
		(void)snprintf(text, LENGTH_SIZE, "%lld min", s / 60);
	else if (s < 172800)
		(void)snprintf(text, LENGTH_SIZE, "%lld h", s / 3600);
	else
		(void)snprintf(text, LENGTH_SIZE, "%lld d", s / 86400);
}

static void head(struct page *page, json_t *status)
{
	char now[32] = "";
	const time_t seconds = time(NULL);
	const char *state = json_text(status, "state");
	AUTO_FREE char *text = NULL;
	struct tm parts;

	if (localtime_r(&seconds, &parts))
		(void)strftime(now, sizeof now, "%H:%M:%S", &parts);
	text = text_format(
		"mayfly %s  %s  %s  %lld secrets  %lld grants  %lld released  %lld armed  %s",
		json_text(status, "version"), json_text(status, "environment"), state,
		(long long)json_number(status, "secrets"), (long long)json_number(status, "grants"),
		(long long)json_number(status, "released"), (long long)json_number(status, "armed"),
		now);
	line(page, strcmp(state, "unlocked") == 0 ? PAINT_STRONG : PAINT_BAD, text);
}

static void engines(struct page *page, json_t *status)
{
	json_t *engine;
	size_t i;

	json_array_foreach (json_object_get(status, "engines"), i, engine) {
		const bool is_well = strcmp(json_text(engine, "state"), "connected") == 0;
		AUTO_FREE char *text = text_format("engine    %s: %s %s", json_text(engine, "name"),
			json_text(engine, "state"), json_text(engine, "detail"));

		if (!is_well || i == 0)
			line(page, is_well ? PAINT_PLAIN : PAINT_BAD, text);
	}
}

bool status_backend_is_well(json_t *backend)
{
	const char *state = json_text(backend, "state");

	return strcmp(state, "connected") == 0 || strcmp(state, "waiting") == 0;
}

static void backends(struct page *page, json_t *status)
{
	json_t *backend;
	size_t i;

	json_array_foreach (json_object_get(status, "backends"), i, backend) {
		const char *state = json_text(backend, "state");
		const bool is_well = status_backend_is_well(backend);
		const char *detail = json_text(backend, "detail");
		AUTO_FREE char *text = text_format("backend   set %s: %s%s%s",
			json_text(backend, "set"), state, detail[0] ? "; " : "", detail);

		line(page, is_well ? PAINT_PLAIN : PAINT_BAD, text);
	}
}

static void problems(struct page *page, json_t *status)
{
	json_t *problem;
	size_t i;

	json_array_foreach (json_object_get(status, "problems"), i, problem) {
		AUTO_FREE char *text = text_format("problem   %s", json_string_value(problem));

		line(page, PAINT_BAD, text);
	}
}

static void rotations(struct page *page, json_t *status)
{
	json_t *rotation;
	size_t i;

	json_array_foreach (json_object_get(status, "rotations"), i, rotation) {
		json_t *first = json_array_get(json_object_get(rotation, "secrets"), 0);
		const size_t others = json_array_size(json_object_get(rotation, "secrets")) - 1;
		AUTO_FREE char *more = others > 0 ? text_format(" and %zu more", others) : NULL;
		AUTO_FREE char *text = text_format("rotation  %s/%s%s: %lld of %lld containers, %s",
			json_text(first, "set"), json_text(first, "name"), more ? more : "",
			(long long)json_number(rotation, "reached"),
			(long long)json_number(rotation, "containers"),
			json_text(rotation, "state"));

		line(page,
			strcmp(json_text(rotation, "state"), "rolling_back") == 0 ? PAINT_BAD
										  : PAINT_GOOD,
			text);
	}
}

/* "prod/a 3, prod/b 1": a secret once, however many files have it. */
static char *secrets_text(json_t *lease)
{
	char *text = text_copy("");
	json_t *file;
	size_t i;

	json_array_foreach (json_object_get(lease, "files"), i, file) {
		AUTO_FREE char *one = text_format("%s %lld", json_text(file, "secret"),
			(long long)json_number(file, "version"));
		char *all;

		if (strstr(text, one))
			continue;
		all = text_format("%s%s%s", text, text[0] ? ", " : "", one);
		free(text);
		text = all;
	}
	return text;
}

static void lease_line(struct page *page, json_t *lease)
{
	char age[LENGTH_SIZE], renewal[LENGTH_SIZE], end[LENGTH_SIZE];
	AUTO_FREE char *secrets = secrets_text(lease);
	AUTO_FREE char *text = NULL;
	const bool is_armed = strcmp(json_text(lease, "state"), "armed") == 0;

	length_text(age, lease, "age_s");
	length_text(renewal, lease, "renewal_in_s");
	length_text(end, lease, "expires_in_s");
	text = text_format("%-24.24s %8.8s %8.8s %8.8s  %s", json_text(lease, "container"),
		is_armed ? "armed" : age, renewal, end, secrets);
	line(page, PAINT_PLAIN, text);
}

static void leases(struct page *page, json_t *list)
{
	const int room = page->lines - 2; /* the head, and the line that says how many more */
	json_t *lease;
	size_t i;

	if (json_array_size(list) == 0) {
		line(page, PAINT_WEAK, "nothing is delivered");
		return;
	}
	line(page, PAINT_WEAK, "CONTAINER                     AGE  RENEWAL      END  SECRETS");
	json_array_foreach (list, i, lease) {
		if ((int)i >= room && json_array_size(list) > i + 1) {
			AUTO_FREE char *text =
				text_format("... and %zu more", json_array_size(list) - i);

			line(page, PAINT_WEAK, text);
			return;
		}
		lease_line(page, lease);
	}
}

static void draw(const struct look *look)
{
	struct page page = page_begin();

	if (!look->status) {
		line(&page, PAINT_BAD, look->problem.text);
	} else {
		head(&page, look->status);
		engines(&page, look->status);
		backends(&page, look->status);
		problems(&page, look->status);
		rotations(&page, look->status);
		leases(&page, look->leases);
	}
	page_end(&page);
}

/* --- events --- */

static void print_event(const char *event, json_t *object)
{
	AUTO_JSON json_t *whole =
		json_made(json_pack("{s:s, s:O?}", "event", event, "object", object));
	AUTO_FREE char *text = json_dumps(whole, JSON_COMPACT | JSON_ENSURE_ASCII);

	(void)fprintf(stdout, "%s\n", text ? text : "{}");
}

static json_t *find(json_t *list, const char *key, const char *value)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (strcmp(json_text(item, key), value) == 0)
			return item;
	}
	return NULL;
}

/* Without what changes by itself as time goes by. */
static json_t *without_ages(json_t *item)
{
	static const char *const ages[] = { "age_s", "renewal_in_s", "expires_in_s", "token_life_s",
		"oldest_value_s", "requests", "served_stale" };
	json_t *copy = json_made(json_copy(item));

	for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++)
		(void)json_object_del(copy, ages[i]);
	return copy;
}

static bool is_same(json_t *left, json_t *right)
{
	AUTO_JSON json_t *a = without_ages(left);
	AUTO_JSON json_t *b = without_ages(right);

	return json_equal(a, b);
}

/* One event for each item of NOW that BEFORE has not or has otherwise, and for each that has gone. */
static void compare_lists(json_t *before, json_t *now, const char *key, const char *what)
{
	AUTO_FREE char *ended = text_format("%s_ended", what);
	json_t *item, *known;
	size_t i;

	json_array_foreach (now, i, item) {
		known = find(before, key, json_text(item, key));
		if (!known || !is_same(known, item))
			print_event(what, item);
	}
	json_array_foreach (before, i, item)
		if (!find(now, key, json_text(item, key)))
			print_event(ended, item);
}

/* The rest of the status, without numbers that count what the other events tell. */
static json_t *rest_of(json_t *status)
{
	static const char *const told[] = { "rotations", "backends", "audit_records", "audit_head",
		"armed", "released" };
	json_t *copy = json_made(json_copy(status));

	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
		(void)json_object_del(copy, told[i]);
	return copy;
}

static void tell_changes(const struct look *before, const struct look *now)
{
	AUTO_JSON json_t *old_rest = before->status ? rest_of(before->status) : NULL;
	AUTO_JSON json_t *rest = now->status ? rest_of(now->status) : NULL;

	if (!now->status) {
		if (before->status || strcmp(before->problem.text, now->problem.text) != 0)
			print_event("unreachable", NULL);
	} else {
		if (!old_rest || !json_equal(old_rest, rest))
			print_event("status", rest);
		compare_lists(json_object_get(before->status, "rotations"),
			json_object_get(now->status, "rotations"), "id", "rotation");
		compare_lists(json_object_get(before->status, "backends"),
			json_object_get(now->status, "backends"), "set", "backend");
		compare_lists(before->leases, now->leases, "lease", "lease");
	}
	(void)fflush(stdout);
}

int status_watch(struct cli *cli, struct mayfly_error *err)
{
	const struct timespec pause = { .tv_nsec = INTERVAL_MS % 1000 * 1000000L,
		.tv_sec = INTERVAL_MS / 1000 };
	struct look before = { 0 }, now = { 0 };
	int r = operator_reach(cli, err);

	if (r < 0)
		return r;
	if (!cli->json && isatty(STDOUT_FILENO))
		(void)fputs("\033[2J", stdout);
	while (!ferror(stdout)) {
		take_look(cli, &now);
		if (cli->json)
			tell_changes(&before, &now);
		else
			draw(&now);
		look_done(&before);
		before = now;
		now = (struct look){ 0 };
		(void)nanosleep(&pause, NULL);
	}
	look_done(&before);
	return error_errno(err, -EIO, "print");
}
