#include "daemon/engine/facts/engine_sockets.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <sys/socket.h>
#include <sys/un.h>

static void bind_socket(const struct fixture *fixture, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM, 0);

	fixture_parents(fixture, name);
	ck_assert_uint_lt(strlen(fixture_path(fixture, name)), sizeof address.sun_path);
	strcpy(address.sun_path, fixture_path(fixture, name));
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
}

static void make_host(const struct fixture *fixture)
{
	bind_socket(fixture, "run/docker.sock");
	bind_socket(fixture, "run/containerd/containerd.sock");
	bind_socket(fixture, "run/docker/containerd/containerd.sock");
	fixture_parents(fixture, "run/user/");
	fixture_parents(fixture, "run/docker/netns/");
	fixture_parents(fixture, "srv/app/");
	fixture_link(fixture, "var/run", "/run");
	fixture_link(fixture, "srv/sock", "../run/docker.sock");
	fixture_link(fixture, "srv/up", "..");
	fixture_text(fixture, "data/volumes/plain/_data/x", "x");
	fixture_text(fixture, "data/volumes/sly/opts.json",
		"{\"MountType\":\"none\",\"MountOpts\":\"bind\",\"MountDevice\":\"/var/"
		"run\",\"Quota\":{}}");
	fixture_text(fixture, "data/volumes/nfs/opts.json",
		"{\"MountType\":\"nfs\",\"MountDevice\":\":/export\"}");
	fixture_text(fixture, "data/volumes/broken/opts.json", "{");
}

static const struct {
	const char *reads_as;
	const char *source; /* a bind mount */
	const char *volume; /* a volume of the engine's own */
	bool expect;
} rows[] = {
	{ "the socket", "/run/docker.sock", NULL, true },
	{ "the socket through /var/run", "/var/run/docker.sock", NULL, true },
	{ "a link to the socket", "/srv/sock", NULL, true },
	{ "its directory", "/run", NULL, true },
	{ "its directory through a link", "/var/run", NULL, true },
	{ "its directory with dots", "/run/user/..", NULL, true },
	{ "the root", "/", NULL, true },
	{ "a link to the root", "/srv/up", NULL, true },
	{ "dots above the root", "/../..", NULL, true },
	{ "containerd's socket", "/run/containerd/containerd.sock", NULL, true },
	{ "containerd's directory", "/run/containerd", NULL, true },
	{ "the engine's own containerd", "/run/docker/containerd", NULL, true },
	{ "above the engine's own containerd", "/run/docker", NULL, true },
	{ "beside the socket", "/run/user", NULL, false },
	{ "beside the engine's own containerd", "/run/docker/netns", NULL, false },
	{ "an application's directory", "/srv/app", NULL, false },
	{ "a directory that is not there", "/no/such", NULL, false },
	{ "/var, in which the link to /run is only a link", "/var", NULL, false },
	{ "a plain volume", NULL, "plain", false },
	{ "a volume that binds /var/run", NULL, "sly", true },
	{ "a volume of a network", NULL, "nfs", false },
	{ "a volume with broken options", NULL, "broken", false },
	{ "a volume whose name leads elsewhere", NULL, "../volumes/sly", false },
	{ "nothing", NULL, NULL, false },
};

START_TEST(the_engine_socket_is_found)
{
	json_t *sources = json_array(), *volumes = json_array();
	struct fixture fixture;

	fixture_open(&fixture);
	make_host(&fixture);
	if (rows[_i].source)
		json_array_append_new(sources, json_string(rows[_i].source));
	if (rows[_i].volume)
		json_array_append_new(volumes, json_string(rows[_i].volume));
	ck_assert_msg(
		engine_sockets_are_mounted(&fixture.place, sources, volumes) == rows[_i].expect,
		"%s", rows[_i].reads_as);
	json_decref(sources);
	json_decref(volumes);
	fixture_close(&fixture);
}
END_TEST

START_TEST(a_socket_elsewhere_is_the_configured_one)
{
	json_t *sources = json_pack("[s]", "/opt/engine"), *volumes = json_array();
	struct fixture fixture;

	fixture_open(&fixture);
	bind_socket(&fixture, "opt/engine/api.sock");
	ck_assert(!engine_sockets_are_mounted(&fixture.place, sources, volumes));
	fixture.place.socket = "/opt/engine/api.sock";
	ck_assert(engine_sockets_are_mounted(&fixture.place, sources, volumes));
	/* Gone while the engine starts again: its directory stays what it is. */
	ck_assert_int_eq(unlink(fixture_path(&fixture, "opt/engine/api.sock")), 0);
	ck_assert(engine_sockets_are_mounted(&fixture.place, sources, volumes));
	json_decref(sources);
	json_decref(volumes);
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, the_engine_socket_is_found, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, a_socket_elsewhere_is_the_configured_one);
}

int main(void)
{
	return unit_test_run("engine_sockets", add);
}
