#include "daemon/engine/facts/userns_map.h"

#include "unit_test.h"

#include <errno.h>
#include <stdio.h>

static const struct {
	const char *reads_as;
	const char *data_root;
	enum user_namespace user_namespace;
	const char *mode;
	int expect;
	uint32_t uid_offset, gid_offset, id_count;
} rows[] = {
	{ "a plain engine", "/var/lib/docker", USER_NAMESPACE_HOST, "", 0, 0, 0, UINT32_MAX },
	{ "a plain engine that has not answered", "/var/lib/docker", USER_NAMESPACE_UNKNOWN, "", 0,
		0, 0, UINT32_MAX },
	{ "a remapping engine", "/var/lib/docker/100000.100001", USER_NAMESPACE_REMAPPED, "", 0,
		100000, 100001, 65536 },
	{ "a remapping engine that has not answered", "/var/lib/docker/100000.100000",
		USER_NAMESPACE_UNKNOWN, "", 0, 100000, 100000, 65536 },
	{ "a container that opted out", "/var/lib/docker/100000.100000", USER_NAMESPACE_REMAPPED,
		"host", 0, 0, 0, UINT32_MAX },
	{ "a plain engine in a directory that looks remapped", "/srv/100000.100000",
		USER_NAMESPACE_HOST, "", 0, 0, 0, UINT32_MAX },
	{ "the largest start of a range", "/d/4294967295.1", USER_NAMESPACE_REMAPPED, "", 0,
		UINT32_MAX, 1, 65536 },
	{ "a remapping engine that does not say how", "/var/lib/docker", USER_NAMESPACE_REMAPPED,
		"", -EPROTO, 0, 0, 0 },
	{ "one that does not say how at all", "/d/100000.", USER_NAMESPACE_REMAPPED, "host",
		-EPROTO, 0, 0, 0 },
	{ "a suffix with more behind it", "/d/1.2x", USER_NAMESPACE_REMAPPED, "", -EPROTO, 0, 0,
		0 },
	{ "a suffix that fits into no id", "/d/4294967296.1", USER_NAMESPACE_REMAPPED, "", -EPROTO,
		0, 0, 0 },
	{ "a name with a dot", "/d/docker.2", USER_NAMESPACE_REMAPPED, "", -EPROTO, 0, 0, 0 },
};

START_TEST(a_map_is_read)
{
	struct engine_place place = { .user_namespace = rows[_i].user_namespace };
	struct userns_map map = { 0 };

	(void)snprintf(place.data_root, sizeof place.data_root, "%s", rows[_i].data_root);
	ck_assert_msg(userns_map_of(&place, rows[_i].mode, &map, NULL) == rows[_i].expect, "%s",
		rows[_i].reads_as);
	ck_assert_msg(map.uid_offset == rows[_i].uid_offset &&
			      map.gid_offset == rows[_i].gid_offset &&
			      map.id_count == rows[_i].id_count,
		"%s: %u %u %u", rows[_i].reads_as, map.uid_offset, map.gid_offset, map.id_count);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_map_is_read, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	return unit_test_run("userns_map", add);
}
