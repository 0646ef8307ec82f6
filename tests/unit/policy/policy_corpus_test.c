#include "daemon/broker/policy/policy.h"

#include "policy/corpus_files.h"
#include "unit_test.h"

#include <errno.h>

/* Each bad file with a complaint that it must cause. */
static const struct {
	const char *reads_as;
	const char *name;
	unsigned line;
	const char *says;
	const char *nearest;
} bad_files[] = {
	{ "a missing comma", "syntax-comma", 4, "no valid JSON", NULL },
	{ "an empty file", "syntax-empty", 1, "no valid JSON", NULL },
	{ "the same key twice", "syntax-twice", 3, "duplicate object key", NULL },
	{ "something behind the end", "syntax-behind", 2, "end of file expected", NULL },
	{ "a file that was cut", "syntax-cut", 4, "no valid JSON", NULL },
	{ "bytes that are not UTF-8", "syntax-latin1", 2, "unable to decode byte 0xe4", NULL },
	{ "a zero byte behind a word", "syntax-zero-byte", 3, "a zero byte", NULL },
	{ "a list at the top", "root-list", 1, "the file must be an object, not a list", NULL },
	{ "no list of grants", "no-grants", 1, "a policy file needs the key 'grants'", NULL },
	{ "grants that are no list", "grants-object", 2, "'grants' must be a list, not an object",
		NULL },
	{ "a grant that is a text", "grant-text", 2,
		"this entry must be an object, not a string (a grant)", NULL },
	{ "an unknown key at the top", "top-key", 2, "unknown key 'grant' in a policy file",
		"grants" },
	{ "a misspelt key in a grant", "grant-key", 6, "unknown key 'requier' in a grant",
		"require" },
	{ "a misspelt key in a lease", "lease-key", 6, "unknown key 'tll' in a lease", "ttl" },
	{ "a lease of no length", "lease-ttl-zero", 6, "'0s' is no `ttl` of a lease", NULL },
	{ "a hard end at once", "lease-max-zero", 6, "'0h' is no `max_ttl` of a lease", NULL },
	{ "a lease in words", "lease-ttl-text", 6, "'an hour' is not a duration", NULL },
	{ "a misspelt word of a lease", "lease-word", 6, "'keeep' is not what happens", "keep" },
	{ "a file that may be read twice", "read-word", 7, "'twice' is not how often", NULL },
	{ "read once without the guard", "read-unguarded", 7, "needs `guard`: `always`", NULL },
	{ "read once, released unguarded", "read-released", 8, "`release` may only be `guard`",
		NULL },
	{ "a signal that is none", "rotate-signal", 6, "'SIGHUP' is not a signal", NULL },
	{ "a telling that is none", "rotate-word", 6,
		"'reload' is not what the application is told", NULL },
	{ "a signal without its name", "rotate-no-signal", 6, "a signal needs the key 'signal'",
		NULL },
	{ "a process with a path", "rotate-process", 6, "'/usr/sbin/nginx' is not a process's name",
		NULL },
	{ "a window without a unit", "rotate-window", 6, "'30' is not a duration", NULL },
	{ "a window of no length", "rotate-window-zero", 3,
		"'0s' is no time within which to roll back", NULL },
	{ "a window of two days", "rotate-window-long", 3,
		"'2d' is no time within which to roll back", NULL },
	{ "a grant without a name", "no-name", 3, "a grant needs the key 'name'", NULL },
	{ "a grant without a match", "no-match", 3, "a grant needs the key 'match'", NULL },
	{ "a grant without secrets", "no-secrets", 3, "a grant needs the key 'secrets'", NULL },
	{ "an empty list of secrets", "secrets-empty", 6, "'secrets' has 0 entries", NULL },
	{ "the key secrets misspelt", "secret-misspelt", 6, "unknown key 'secret'", "secrets" },
	{ "the key secrets misspelt", "secret-misspelt", 3, "needs the key 'secrets'", NULL },
	{ "a blank in a grant's name", "name-blank", 4, "'shop web' is not a grant's name", NULL },
	{ "a grant's name of 64 characters", "name-long", 4, "'name' has 64 characters, at most 63",
		NULL },
	{ "a name that is null", "name-null", 4, "'name' must be a string, not null", NULL },
	{ "a note that is a number", "note-number", 6,
		"'note' must be a string, not a whole number", NULL },
	{ "a misspelt key in a match", "match-key", 5, "unknown key 'compose.projct' in a match",
		"compose.project" },
	{ "a label without its key", "match-label", 5, "unknown key 'container.label.'",
		"container.name" },
	{ "a match without terms", "match-empty", 5, "grant g matches everything", NULL },
	{ "a match with a note only", "match-note-only", 5, "grant g matches everything", NULL },
	{ "a star alone", "match-star", 5, "grant g matches everything", NULL },
	{ "nothing but stars", "match-stars", 5, "grant g matches everything", NULL },
	{ "nothing but one-off or not", "match-oneoff", 5, "grant g matches everything", NULL },
	{ "a one-off as a text", "match-oneoff-text", 5,
		"'compose.oneoff' must be true or false, not a string", NULL },
	{ "a star in the middle", "match-middle-star", 5,
		"'shop/*/web' is not a value that is not empty, with a '*' only at the end", NULL },
	{ "two stars", "match-two-stars", 5, "with a '*' only at the end", NULL },
	{ "an empty value", "match-no-value", 5, "'' is not a value that is not empty", NULL },
	{ "a value that is a number", "match-number", 5, "must be a string, not a whole number",
		NULL },
	{ "a project with a capital", "project-capital", 5, "'Shop' is not a Compose project",
		NULL },
	{ "a project that starts with a dash", "project-dash", 5,
		"'-shop' is not a Compose project", NULL },
	{ "the same by the label's own name", "project-label", 5,
		"'Shop*' is not a Compose project", NULL },
	{ "a service with a blank", "service-blank", 5, "'we b' is not a Compose service", NULL },
	{ "a container's name with the engine's slash", "container-slash", 5,
		"'/web' is not a container's name", NULL },
	{ "two projects at once", "contradiction", 7,
		"container.label.com.docker.compose.project contradicts compose.project", NULL },
	{ "a service outside its own prefix", "contradiction-prefix", 7,
		"compose.service contradicts container.label.com.docker.compose.service", NULL },
	{ "a one-off that is none", "contradiction-oneoff", 8, "contradicts compose.oneoff", NULL },
	{ "a word that Compose never writes", "oneoff-label", 5,
		"'true' is not a value that Compose gives this label: choose 'True' or 'False'",
		"True" },
	{ "the beginning of a digest", "digest-prefix", 5, "is not a digest", NULL },
	{ "a digest of another kind", "digest-algorithm", 5, "is not a digest", NULL },
	{ "a digest in capitals", "digest-capital", 6, "is not a digest", NULL },
	{ "a digest with a digit too much", "digest-long", 6, "'image.digest' has 72 characters",
		NULL },
	{ "a misspelt requirement", "require-key", 6, "unknown key 'non_rot' in a requirement",
		"non_root" },
	{ "a requirement that is false", "require-false", 6, "'read_only_root' can only be true",
		NULL },
	{ "privileged as a boolean", "require-boolean", 6,
		"'privileged' must be 'refuse' or 'allow'", NULL },
	{ "a misspelt choice", "require-word", 6,
		"'alow' is not a choice: choose 'refuse' or 'allow'", "allow" },
	{ "a set that nobody knows", "set-unknown", 6, "'stagin' is no known set", "staging" },
	{ "a set with a capital", "set-capital", 6, "'Prod' is not a set's name", NULL },
	{ "a set and a name that are too long together", "set-and-name-long", 8,
		"set and name together are longer than the limit of 255 bytes", NULL },
	{ "a misspelt guard", "guard-word", 6, "'allways' is not a guard", "always" },
	{ "an unknown layout", "layout-word", 6,
		"'flat' is not a layout: choose 'atomic' or 'plain'", NULL },
	{ "an unknown release", "release-word", 6,
		"'never' is not a release: choose 'guard', 'after-start' or 'mount'", NULL },
	{ "a secret that is only a text", "secret-text", 7,
		"this entry must be an object, not a string (a secret or a template)", NULL },
	{ "neither secret nor template", "secret-nothing", 7, "a secret needs the key 'name'",
		NULL },
	{ "a misspelt key in a secret", "secret-key", 7, "unknown key 'mod' in a secret", "mode" },
	{ "a secret called ..", "secret-up", 7, "'../a' is not a secret's name", NULL },
	{ "a hidden secret", "secret-hidden", 7, "'.mayfly.json' is not a secret's name", NULL },
	{ "a final slash", "secret-slash", 7, "'a/' is not a secret's name", NULL },
	{ "an empty secret's name", "secret-empty", 7, "'' is not a secret's name", NULL },
	{ "a secret's name of 254 characters", "secret-long", 7,
		"'name' has 254 characters, at most 253", NULL },
	{ "a file called ..data", "as-data", 7, "'..data' is not a path", NULL },
	{ "an absolute path", "as-absolute", 7, "'/etc/passwd' is not a path", NULL },
	{ "a path that goes up", "as-up", 7, "is not a path", NULL },
	{ "a mode with a set-id bit", "mode-setuid", 7, "'4755' is not a mode", NULL },
	{ "a mode of five digits", "mode-long", 7, "'04755' is not a mode", NULL },
	{ "a mode without its zero", "mode-short", 7, "'440' is not a mode", NULL },
	{ "a mode that is a number", "mode-decimal", 7,
		"'mode' must be a string, not a whole number", NULL },
	{ "a mode with an 8", "mode-eight", 7, "'0480' is not a mode", NULL },
	{ "a negative uid", "uid-negative", 7, "'uid' is -1, not a number from 0 to 4294967294",
		NULL },
	{ "the uid that means none", "uid-nobody", 7, "'gid' is 4294967295, not a number", NULL },
	{ "a uid by its name", "uid-name", 7, "'uid' must be a whole number, not a string", NULL },
	{ "half a uid", "uid-fraction", 7,
		"'uid' must be a whole number, not a number with a fraction", NULL },
	{ "a uid that no number holds", "uid-huge", 7, "too big integer", NULL },
	{ "no version", "versions-none", 7, "'versions' has 0 entries", NULL },
	{ "one version twice", "versions-twice", 7, "stands there twice", NULL },
	{ "a misspelt version", "versions-word", 7, "'curent' is not a version", "current" },
	{ "a path that has no room for .previous", "previous-long", 7,
		"'.previous' together are longer than the limit of 255", NULL },
	{ "a template without a file", "template-no-as", 7, "a template needs the key 'as'", NULL },
	{ "versions of a template", "template-versions", 7, "unknown key 'versions' in a template",
		NULL },
	{ "a template and a name", "template-and-name", 7, "unknown key 'name' in a template",
		NULL },
	{ "a misspelt filter", "template-filter", 7,
		"at character 6 of the template: 'ulr' is no filter", "url" },
	{ "two filters", "template-two-filters", 7, "'url|json' is no filter", NULL },
	{ "braces that do not close", "template-open", 7,
		"at character 3 of the template: '{{' without '}}'", NULL },
	{ "blanks in braces", "template-blank", 7, "' a ' is no valid name of a secret", NULL },
	{ "logic in braces", "template-logic", 7, "'#if a' is no secret: NAME, NAME#FIELD", NULL },
	{ "logic in braces", "template-logic", 7, "'/if' is no valid name of a secret", NULL },
	{ "three braces", "template-three", 7, "'{a' is no valid name of a secret", NULL },
	{ "a template of text only", "template-no-secret", 7, "the template names no secret",
		NULL },
	{ "an empty template", "template-empty", 7, "'' is not a template's text", NULL },
	{ "one file twice in a grant", "file-twice", 8, "grant g gives the file 'a' twice", NULL },
	{ "a file named as another's previous version", "file-previous", 8,
		"grant g gives the file 'a.previous' twice", NULL },
	{ "a file where another has its directory", "file-directory", 8,
		"grant g gives 'keys' both as a file and as a directory", NULL },
	{ "two grants that give one container one file", "overlap", 6,
		"grants two and one (overlap.json:4) can match one container, and both give the "
		"file 'a'",
		NULL },
	{ "a service inside another's prefix", "overlap-prefix", 6, "both give the file 'a'",
		NULL },
	{ "a file of one, a directory of the other", "overlap-directory", 6,
		"one has a file where the other has a directory, 'a'", NULL },
	{ "a file of one, a directory of two files of the other", "overlap-below", 6,
		"one has a file where the other has a directory, 'a'", NULL },
	{ "a mistake in a grant that would overlap too", "mistake-and-overlap", 5,
		"'nowhere' is no known set", NULL },
	{ "two digests, which one image can have", "overlap-digest", 6, "both give the file 'a'",
		NULL },
	{ "a previous version and a file of its name", "overlap-previous", 6,
		"both give the file 'a.previous'", NULL },
	{ "two grants of one name", "grant-twice", 5, "grant one stands in grant-twice.json:3 too",
		NULL },
	{ "several mistakes at once", "several", 6, "unknown key 'gard'", "guard" },
	{ "several mistakes at once", "several", 7, "'privileged' must be 'refuse' or 'allow'",
		NULL },
	{ "several mistakes at once", "several", 8, "'X' is not a set's name", NULL },
	{ "a key written with escapes", "note-escaped-key", 6, "unknown key 'gard'", "guard" },
};

#define BAD_FILES (sizeof bad_files / sizeof bad_files[0])

static const char *const sets[] = { "common", "dev", "staging", "prod" };

static int parse_file(const char *path, const char *shown, struct policy **ret_policy,
	struct complaints *complaints, struct complaints *notes)
{
	size_t length = 0;
	AUTO_FREE char *text = text_read(path, &length);
	const struct policy_text file = { shown, text, length };

	return policy_parse(
		&file, 1, sets, sizeof sets / sizeof sets[0], ret_policy, complaints, notes);
}

START_TEST(a_bad_file_is_refused_with_its_line_and_reason)
{
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	char path[512], shown[160];

	(void)corpus_path(path, "policy/bad", bad_files[_i].name);
	(void)snprintf(shown, sizeof shown, "%s.json", bad_files[_i].name);
	ck_assert_msg(parse_file(path, shown, &policy, &complaints, &notes) == -EINVAL, "%s",
		bad_files[_i].reads_as);
	ck_assert_msg(has_complaint(&complaints, shown, bad_files[_i].line, bad_files[_i].says,
			      bad_files[_i].nearest),
		"%s: %s", bad_files[_i].reads_as, complaints_text(&complaints));
	ck_assert(all_have_lines(&complaints));
	ck_assert_ptr_null(policy);
	complaints_done(&complaints);
	complaints_done(&notes);
}
END_TEST

START_TEST(no_file_causes_complaints_beside_the_expected_ones)
{
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	size_t expected = 0;
	char path[512];

	for (size_t i = 0; i < BAD_FILES; i++)
		expected += strcmp(bad_files[i].name, bad_files[_i].name) == 0;
	(void)corpus_path(path, "policy/bad", bad_files[_i].name);
	(void)parse_file(path, "f.json", &policy, &complaints, &notes);
	ck_assert_msg(complaints.count == expected, "%s: %s", bad_files[_i].reads_as,
		complaints_text(&complaints));
	complaints_done(&complaints);
	complaints_done(&notes);
}
END_TEST

START_TEST(every_bad_file_is_in_the_table)
{
	glob_t list;

	corpus_list("policy/bad", &list);
	for (size_t i = 0; i < list.gl_pathc; i++) {
		char name[128];
		bool found = false;

		corpus_name(list.gl_pathv[i], name);
		for (size_t k = 0; k < BAD_FILES; k++)
			found |= strcmp(bad_files[k].name, name) == 0;
		ck_assert_msg(found, "%s", name);
	}
	globfree(&list);
}
END_TEST

static void expect_good(const char *path)
{
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;

	ck_assert_msg(parse_file(path, path, &policy, &complaints, &notes) == 0, "%s%s", path,
		complaints_text(&complaints));
	policy_unref(policy);
	complaints_done(&complaints);
	complaints_done(&notes);
}

START_TEST(every_good_file_is_accepted)
{
	glob_t list;

	corpus_list("policy/good", &list);
	for (size_t i = 0; i < list.gl_pathc; i++)
		expect_good(list.gl_pathv[i]);
	globfree(&list);
}
END_TEST

START_TEST(the_examples_are_good_and_fit_together)
{
	static const char *const names[] = { "shop", "payments", "operations" };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy_text files[3];
	struct policy *policy = NULL;
	char path[512];

	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(
			path, sizeof path, "%s/%s.json", getenv("MAYFLY_EXAMPLES"), names[i]);
		files[i].file = names[i];
		files[i].text = text_read(path, &files[i].length);
	}
	ck_assert_msg(policy_parse(files, 3, sets, sizeof sets / sizeof sets[0], &policy,
			      &complaints, &notes) == 0,
		"%s", complaints_text(&complaints));
	ck_assert_uint_eq(policy->grants_count, 6);
	/* All but the one that is bound to an image. */
	ck_assert_uint_eq(notes.count, 5);
	policy_unref(policy);
	complaints_done(&notes);
	for (size_t i = 0; i < 3; i++)
		free((void *)files[i].text);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_bad_file_is_refused_with_its_line_and_reason, 0, BAD_FILES);
	tcase_add_loop_test(
		cases, no_file_causes_complaints_beside_the_expected_ones, 0, BAD_FILES);
	tcase_add_test(cases, every_bad_file_is_in_the_table);
	tcase_add_test(cases, every_good_file_is_accepted);
	tcase_add_test(cases, the_examples_are_good_and_fit_together);
}

int main(void)
{
	return unit_test_run("policy_corpus", add);
}
