#include "daemon/broker/policy/policy.h"

#include "policy/policy_example.h"
#include "unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRANT(name, project)                                                                 \
	"{\"grants\": [{\"name\": \"" name "\", \"match\": {\"compose.project\": \"" project \
	"\"},\n\"secrets\": [{\"name\": \"a\"}]}]}"

struct root {
	char path[64];
	char folder[128]; /* policy.d */
};

static struct root make_root(void)
{
	struct root root = { .path = "/tmp/mayfly-policy-XXXXXX" };

	ck_assert_ptr_nonnull(mkdtemp(root.path));
	(void)snprintf(root.folder, sizeof root.folder, "%s/etc", root.path);
	ck_assert_int_eq(mkdir(root.folder, 0755), 0);
	(void)snprintf(root.folder, sizeof root.folder, "%s/etc/mayfly", root.path);
	ck_assert_int_eq(mkdir(root.folder, 0755), 0);
	(void)snprintf(root.folder, sizeof root.folder, "%s/etc/mayfly/policy.d", root.path);
	return root;
}

static void write_file(const struct root *root, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	(void)mkdir(root->folder, 0755);
	(void)snprintf(path, sizeof path, "%s/%s", root->folder, name);
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
}

static void remove_root(const struct root *root)
{
	char command[128];

	/* The name is mkdtemp()'s: nothing in it that a shell would take for something else. */
	(void)snprintf(command, sizeof command, "rm -r -- '%s'", root->path);
	ck_assert_int_eq(system(command), 0);
}

struct loaded {
	struct policy *policy;
	struct complaints complaints, notes;
	struct mayfly_error err;
	int r;
};

static struct loaded load(const struct root *root)
{
	struct loaded loaded = { 0 };

	loaded.r = policy_load(root->path, example_sets, 4, &loaded.policy, &loaded.complaints,
		&loaded.notes, &loaded.err);
	ck_assert((loaded.r == 0) == (loaded.policy != NULL));
	ck_assert((loaded.r == -EINVAL) == (loaded.complaints.count > 0));
	return loaded;
}

static void loaded_done(struct loaded *loaded)
{
	policy_unref(loaded->policy);
	complaints_done(&loaded->complaints);
	complaints_done(&loaded->notes);
}

START_TEST(no_directory_is_an_empty_policy)
{
	const struct root root = make_root();
	struct loaded loaded = load(&root);

	ck_assert_int_eq(loaded.r, 0);
	ck_assert_uint_eq(loaded.policy->grants_count, 0);
	loaded_done(&loaded);
	remove_root(&root);
}
END_TEST

START_TEST(files_are_read_in_the_order_of_their_names)
{
	const struct root root = make_root();
	struct loaded loaded;

	/* Neither this order nor its reverse is that of the names. */
	write_file(&root, "b.json", GRANT("second", "b"));
	write_file(&root, "d.json", GRANT("fourth", "d"));
	write_file(&root, "a.json", GRANT("first", "a"));
	write_file(&root, "c.json", GRANT("third", "c"));
	write_file(&root, ".hidden.json", "{");
	write_file(&root, "readme.txt", "{");
	write_file(&root, "c.json~", "{");
	write_file(&root, ".json", "{");
	loaded = load(&root);
	ck_assert_msg(loaded.r == 0, "%s", loaded.err.text);
	ck_assert_uint_eq(loaded.policy->grants_count, 4);
	ck_assert_str_eq(loaded.policy->grants[0].name, "first");
	ck_assert_str_eq(loaded.policy->grants[0].file, "a.json");
	ck_assert_uint_eq(loaded.policy->grants[0].line, 1);
	ck_assert_uint_eq(loaded.policy->grants[0].entries[0].line, 2);
	ck_assert_str_eq(
		json_string_value(json_object_get(loaded.policy->grants[0].source, "name")),
		"first");
	ck_assert_str_eq(loaded.policy->grants[1].name, "second");
	ck_assert_str_eq(loaded.policy->grants[2].name, "third");
	ck_assert_str_eq(loaded.policy->grants[3].name, "fourth");
	ck_assert_uint_eq(loaded.notes.count, 4);
	loaded_done(&loaded);
	remove_root(&root);
}
END_TEST

START_TEST(one_bad_file_spoils_all_and_every_file_is_complained_of)
{
	const struct root root = make_root();
	struct loaded loaded;

	write_file(&root, "a.json", GRANT("first", "a"));
	write_file(&root, "b.json", "{");
	write_file(&root, "c.json", GRANT("first", "A"));
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, -EINVAL);
	ck_assert_uint_eq(loaded.complaints.count, 2);
	ck_assert_ptr_nonnull(strstr(loaded.err.text, "policy.d/b.json:1: this is no valid JSON"));
	ck_assert_ptr_nonnull(strstr(loaded.err.text, "(and 1 more)"));
	ck_assert_ptr_nonnull(strstr(loaded.complaints.items[1].where, "policy.d/c.json:1"));
	loaded_done(&loaded);
	remove_root(&root);
}
END_TEST

START_TEST(grants_of_two_files_are_one_policy)
{
	const struct root root = make_root();
	struct loaded loaded;

	write_file(&root, "a.json", GRANT("first", "a"));
	write_file(&root, "b.json", GRANT("first", "b"));
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, -EINVAL);
	ck_assert_ptr_nonnull(strstr(loaded.err.text, "grant first stands in "));
	loaded_done(&loaded);
	write_file(&root, "b.json", GRANT("second", "a"));
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, -EINVAL);
	ck_assert_ptr_nonnull(strstr(loaded.err.text, "both give the file 'a'"));
	loaded_done(&loaded);
	remove_root(&root);
}
END_TEST

START_TEST(what_every_user_may_write_is_refused)
{
	const struct root root = make_root();
	struct loaded loaded;
	char path[256];

	write_file(&root, "a.json", GRANT("first", "a"));
	(void)snprintf(path, sizeof path, "%s/a.json", root.folder);
	ck_assert_int_eq(chmod(path, 0666), 0);
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, -EPERM);
	ck_assert_ptr_nonnull(strstr(loaded.err.text, "a.json': every user may write to it"));
	ck_assert_int_eq(chmod(path, 0664), 0);
	ck_assert_int_eq(chmod(root.folder, 01777), 0);
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, -EPERM);
	ck_assert_ptr_nonnull(strstr(loaded.err.text, "policy.d': every user may write to it"));
	ck_assert_int_eq(chmod(root.folder, 0755), 0);
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, 0);
	loaded_done(&loaded);
	remove_root(&root);
}
END_TEST

START_TEST(a_directory_that_looks_like_a_file_is_refused)
{
	const struct root root = make_root();
	struct loaded loaded;
	char path[256];

	write_file(&root, "a.json", GRANT("first", "a"));
	(void)snprintf(path, sizeof path, "%s/b.json", root.folder);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	loaded = load(&root);
	ck_assert_int_eq(loaded.r, -EISDIR);
	loaded_done(&loaded);
	remove_root(&root);
}
END_TEST

START_TEST(more_overlaps_than_anybody_reads_are_cut_short)
{
	static char text[65536];
	const struct policy_text file = { "f.json", text, 0 };
	struct policy_text filled = file;
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	size_t used = (size_t)snprintf(text, sizeof text, "{\"grants\": [");

	for (int i = 0; i < 200; i++)
		used += (size_t)snprintf(text + used, sizeof text - used,
			"%s{\"name\": \"g%d\", \"match\": {\"compose.project\": \"p\"},"
			" \"secrets\": [{\"name\": \"a\"}]}",
			i ? "," : "", i);
	filled.length = used + (size_t)snprintf(text + used, sizeof text - used, "]}");
	ck_assert_int_eq(policy_parse(&filled, 1, NULL, 0, &policy, &complaints, &notes), -EINVAL);
	ck_assert_uint_eq(complaints.count, 100);
	complaints_done(&complaints);
	complaints_done(&notes);
}
END_TEST

/* What is a note, not a complaint. */
static const struct {
	const char *reads_as;
	const char *grant;
	const char *says; /* NULL: no note */
} notes_rows[] = {
	{ "a grant that rests on a project's name", "\"match\": {\"compose.project\": \"p\"}",
		"grant g rests only on names and labels, which whoever may use the engine "
		"chooses" },
	{ "a grant that rests on an image's name", "\"match\": {\"image.name\": \"p\"}",
		"rests only on names and labels" },
	{ "a grant that is bound by its match",
		"\"match\": {\"compose.project\": \"p\", \"image.digest\": \"" DIGEST_A "\"}",
		NULL },
	{ "a grant that is bound by what it requires",
		"\"match\": {\"compose.project\": \"p\"},"
		" \"require\": {\"image.digest\": \"" DIGEST_A "\"}",
		NULL },
};

START_TEST(an_author_is_told_of)
{
	char text[512];
	struct policy_text file = { "f.json", text, 0 };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;

	file.length = (size_t)snprintf(text, sizeof text,
		"{\"grants\": [\n{\"name\": \"g\", %s, \"secrets\": [{\"name\": \"a\"}]}]}",
		notes_rows[_i].grant);
	ck_assert_int_eq(policy_parse(&file, 1, NULL, 0, &policy, &complaints, &notes), 0);
	ck_assert_msg(notes.count == (notes_rows[_i].says ? 1 : 0), "%s", notes_rows[_i].reads_as);
	if (notes_rows[_i].says) {
		ck_assert_str_eq(notes.items[0].where, "f.json:2");
		ck_assert_ptr_nonnull(strstr(notes.items[0].text, notes_rows[_i].says));
	}
	policy_unref(policy);
	complaints_done(&notes);
}
END_TEST

START_TEST(a_set_s_name_before_a_secret_s_is_noted)
{
	static const char text[] =
		"{\"grants\": [{\"name\": \"g\", \"match\": {\"image.digest\": \"" DIGEST_A "\"},\n"
		"\"secrets\": [{\"name\": \"prod/a\"}, {\"name\": \"products/a\"}]}]}";
	const struct policy_text file = { "f.json", text, sizeof text - 1 };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;

	ck_assert_int_eq(policy_parse(&file, 1, example_sets, 4, &policy, &complaints, &notes), 0);
	ck_assert_uint_eq(notes.count, 1);
	ck_assert_str_eq(notes.items[0].where, "f.json:2");
	ck_assert_ptr_nonnull(
		strstr(notes.items[0].text, "if it means 'a', write \"set\": \"prod\""));
	policy_unref(policy);
	complaints_done(&notes);
}
END_TEST

/* COUNT secrets of one grant, WITH_PREVIOUS of them in two versions. */
static int parse_entries(int count, int with_previous)
{
	static char text[32768];
	struct policy_text file = { "f.json", text, 0 };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	size_t used = (size_t)snprintf(text, sizeof text,
		"{\"grants\": [{\"name\": \"g\", \"match\": {\"compose.project\": \"p\"},"
		"\"secrets\": [");
	int r;

	for (int i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s{\"name\": \"s%d\"%s}",
			i ? "," : "", i,
			i < with_previous ? ", \"versions\": [\"current\", \"previous\"]" : "");
	file.length = used + (size_t)snprintf(text + used, sizeof text - used, "]}]}");
	r = policy_parse(&file, 1, NULL, 0, &policy, &complaints, &notes);
	policy_unref(policy);
	complaints_done(&complaints);
	complaints_done(&notes);
	return r;
}

START_TEST(a_grant_gives_128_files_at_most)
{
	ck_assert_int_eq(parse_entries(128, 0), 0);
	ck_assert_int_eq(parse_entries(129, 0), -EINVAL);
	ck_assert_int_eq(parse_entries(64, 64), 0);
	ck_assert_int_eq(parse_entries(65, 64), -EINVAL);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, no_directory_is_an_empty_policy);
	tcase_add_test(cases, files_are_read_in_the_order_of_their_names);
	tcase_add_test(cases, one_bad_file_spoils_all_and_every_file_is_complained_of);
	tcase_add_test(cases, grants_of_two_files_are_one_policy);
	tcase_add_test(cases, what_every_user_may_write_is_refused);
	tcase_add_test(cases, a_directory_that_looks_like_a_file_is_refused);
	tcase_add_test(cases, more_overlaps_than_anybody_reads_are_cut_short);
	tcase_add_loop_test(
		cases, an_author_is_told_of, 0, sizeof notes_rows / sizeof notes_rows[0]);
	tcase_add_test(cases, a_set_s_name_before_a_secret_s_is_noted);
	tcase_add_test(cases, a_grant_gives_128_files_at_most);
}

int main(void)
{
	return unit_test_run("policy_load", add);
}
