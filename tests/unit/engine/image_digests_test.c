#include "daemon/engine/facts/image_digests.h"

#include "engine_fixture.h"
#include "unit_test.h"

static const char table[] = "{\"Repositories\":{\"shop/web\":{\"shop/web:1\":\"sha256:b\",\"shop/"
			    "web@sha256:d1\":\"sha256:b\","
			    "\"shop/web@sha256:d3\":\"sha256:c\"},\"mirror/web\":{\"mirror/"
			    "web@sha256:d2\":\"sha256:b\"},"
			    "\"odd\":{\"odd@sha256:d9\":7},\"empty\":{},\"word\":\"x\"}}";

static void expect(struct fixture *fixture, struct image_digests *digests, const char *driver,
	const char *image, const char *manifest, const char *wanted)
{
	json_t *found = image_digests_of(digests, &fixture->place, driver, image, manifest);
	json_t *array = json_loads(wanted, 0, NULL);
	json_t *item;
	size_t i;

	ck_assert_uint_eq(json_array_size(found), json_array_size(array));
	json_array_foreach (array, i, item) {
		bool is_there = false;

		for (size_t j = 0; j < json_array_size(found); j++)
			is_there |= json_equal(json_array_get(found, j), item);
		ck_assert_msg(is_there, "%s", json_string_value(item));
	}
	json_decref(found);
	json_decref(array);
}

START_TEST(digests_are_the_id_and_every_name_that_has_one)
{
	struct image_digests digests = { 0 };
	struct fixture fixture;

	fixture_open(&fixture);
	expect(&fixture, &digests, "overlay2", "sha256:b", NULL, "[\"sha256:b\"]");
	fixture_replace(&fixture, "data/image/overlay2/repositories.json", table);
	expect(&fixture, &digests, "overlay2", "sha256:b", NULL,
		"[\"sha256:b\",\"sha256:d1\",\"sha256:d2\"]");
	expect(&fixture, &digests, "overlay2", "sha256:c", NULL, "[\"sha256:c\",\"sha256:d3\"]");
	expect(&fixture, &digests, "overlay2", "sha256:a", NULL, "[\"sha256:a\"]");
	expect(&fixture, &digests, "overlay2", "sha256:z", "sha256:m",
		"[\"sha256:z\",\"sha256:m\"]");
	expect(&fixture, &digests, "../image/overlay2", "sha256:b", NULL,
		"[\"sha256:b\",\"sha256:d1\",\"sha256:d2\"]");
	fixture_replace(&fixture, "data/image/overlay2/repositories.json",
		"{\"Repositories\":{\"x\":{\"x@sha256:new\":\"sha256:b\"}}}");
	expect(&fixture, &digests, "overlay2", "sha256:b", NULL, "[\"sha256:b\",\"sha256:new\"]");
	fixture_replace(&fixture, "data/image/overlay2/repositories.json", "{\"Repositories\":[");
	expect(&fixture, &digests, "overlay2", "sha256:b", NULL, "[\"sha256:b\"]");
	ck_assert_int_eq(
		unlink(fixture_path(&fixture, "data/image/overlay2/repositories.json")), 0);
	expect(&fixture, &digests, "overlay2", "sha256:b", NULL, "[\"sha256:b\"]");
	image_digests_done(&digests);
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, digests_are_the_id_and_every_name_that_has_one);
}

int main(void)
{
	return unit_test_run("image_digests", add);
}
