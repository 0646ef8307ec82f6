#include "daemon/broker/config/config.h"

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
	{ "a missing brace", "syntax", 3, "no valid JSON", NULL },
	{ "a text at the top", "root-text", 1, "no valid JSON: '[' or '{' expected", NULL },
	{ "a misspelt key", "top-key", 2, "unknown key 'enviroment' in the configuration",
		"environment" },
	{ "an environment with a capital", "environment-capital", 2, "'Prod' is not a set's name",
		NULL },
	{ "the reserved name as environment", "environment-reserved", 2,
		"'environment' is no name for a set: it means the host's own", NULL },
	{ "an environment of 64 letters", "environment-long", 2,
		"'environment' has 64 characters, at most 63", NULL },
	{ "sets as a list", "sets-list", 2, "'sets' must be an object, not a list", NULL },
	{ "a set with a blank", "set-name", 3, "'my set' is not a set's name", NULL },
	{ "the reserved name as a set", "set-reserved", 3, "it means the host's own", NULL },
	{ "a set that is a text", "set-text", 3, "'dev' must be an object, not a string (a set)",
		NULL },
	{ "a set called note", "set-note", 3, "'note' must be a string, not an object", NULL },
	{ "a provider that comes later", "set-provider", 3,
		"'etcd' is not a provider: choose 'store' or 'vault'", NULL },
	{ "a server that is not described", "set-vault", 3, "needs the key 'vault'", NULL },
	{ "a server of a set of the store", "vault-stray", 4,
		"'vault' belongs to a set of provider 'vault'", NULL },
	{ "a server without TLS", "vault-plain", 4,
		"would send tokens and secrets over the network in clear text", NULL },
	{ "a path in an address", "vault-path", 4, "is not a server's address", NULL },
	{ "a method without its file", "vault-auth", 5, "method 'approle' needs 'secret_id_file'",
		NULL },
	{ "a file that the method does not use", "vault-auth", 6,
		"'jwt_file' is nothing that method 'approle' uses", NULL },
	{ "a method that needs a certificate", "vault-cert", 5,
		"method 'cert' needs 'client_cert_file' beside 'auth'", NULL },
	{ "a place that is none", "vault-names", 6, "'/x' is no valid name of a secret", NULL },
	{ "a duration without a unit", "vault-refresh", 6, "'60' is not a duration", NULL },
	{ "a misspelt key of a set", "set-key", 3, "unknown key 'inherit' in a set", "inherits" },
	{ "an inherited set that nobody knows", "inherits-unknown", 4,
		"set 'prod' inherits from 'comon', which is no known set", "common" },
	{ "a set that inherits from itself", "inherits-itself", 3,
		"set 'prod' inherits from itself", NULL },
	{ "a circle of three", "inherits-circle", 3, "a circle", NULL },
	{ "a circle of three", "inherits-circle", 4, "a circle", NULL },
	{ "a circle of three", "inherits-circle", 5,
		"set 'c' inherits from 'a', which in the end inherits from 'c': a circle", NULL },
	{ "a set inherited twice", "inherits-twice", 4, "stands there twice", NULL },
	{ "no engine", "engines-none", 2,
		"'engines' has 0 entries; it must be a list of one to four engines", NULL },
	{ "five engines", "engines-five", 2, "'engines' has 5 entries", NULL },
	{ "two engines of the same", "engines-same", 4,
		"two engines have the socket '/run/docker.sock'", NULL },
	{ "two engines of the same", "engines-same", 4, "two engines have the plugin_name 'mayfly'",
		NULL },
	{ "two engines of one name", "engines-name", 4, "two engines have the name 'docker'",
		NULL },
	{ "a kind that comes later", "engine-kind", 2,
		"'podman' is not a kind of engine: choose 'docker'", NULL },
	{ "a misspelt key of an engine", "engine-key", 2, "unknown key 'soket' in an engine",
		"socket" },
	{ "a relative socket", "engine-socket", 2,
		"'run/docker.sock' is not a socket's absolute path", NULL },
	{ "a socket that no address holds", "engine-socket-long", 2,
		"'socket' has 108 characters, at most 107", NULL },
	{ "a plugin name with a slash", "engine-plugin", 2, "'../x' is not a volume driver's name",
		NULL },
	{ "a broker that is root", "user-root", 2, "the broker never runs as root", NULL },
	{ "a broker that is 0", "user-zero", 2,
		"'user' is 0, not a user's name, or a number from 1", NULL },
	{ "a number in quotes", "user-digits", 2, "'0' is not a user's name", NULL },
	{ "a list of users", "user-list", 2,
		"'user' must be a user's name, or a number from 1 to 4294967294, not a list",
		NULL },
	{ "a group with a blank", "group-blank", 2, "'ops team' is not a group's name", NULL },
	{ "yes in quotes", "reveal-text", 2, "'allow_reveal' must be true or false, not a string",
		NULL },
	{ "a note that is a list", "note-list", 2, "'note' must be a string, not a list", NULL },
};

#define BAD_FILES (sizeof bad_files / sizeof bad_files[0])

static int parse_file(const char *folder, const char *name, struct config **ret_config,
	struct complaints *complaints)
{
	char path[512];
	size_t length = 0;
	AUTO_FREE char *text = text_read(corpus_path(path, folder, name), &length);

	return config_parse("mayflyd.json", text, length, ret_config, complaints);
}

START_TEST(a_bad_file_is_refused_with_its_line_and_reason)
{
	struct complaints complaints = { 0 };
	struct config *config = NULL;

	ck_assert_msg(parse_file("config/bad", bad_files[_i].name, &config, &complaints) == -EINVAL,
		"%s", bad_files[_i].reads_as);
	ck_assert_msg(has_complaint(&complaints, "mayflyd.json", bad_files[_i].line,
			      bad_files[_i].says, bad_files[_i].nearest),
		"%s: %s", bad_files[_i].reads_as, complaints_text(&complaints));
	ck_assert(all_have_lines(&complaints));
	ck_assert_ptr_null(config);
	complaints_done(&complaints);
}
END_TEST

START_TEST(no_file_causes_complaints_beside_the_expected_ones)
{
	struct complaints complaints = { 0 };
	struct config *config = NULL;
	size_t expected = 0;

	for (size_t i = 0; i < BAD_FILES; i++)
		expected += strcmp(bad_files[i].name, bad_files[_i].name) == 0;
	(void)parse_file("config/bad", bad_files[_i].name, &config, &complaints);
	ck_assert_msg(complaints.count == expected, "%s: %s", bad_files[_i].reads_as,
		complaints_text(&complaints));
	complaints_done(&complaints);
}
END_TEST

START_TEST(every_bad_file_is_in_the_table)
{
	glob_t list;

	corpus_list("config/bad", &list);
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

START_TEST(every_good_file_is_accepted)
{
	glob_t list;

	corpus_list("config/good", &list);
	for (size_t i = 0; i < list.gl_pathc; i++) {
		struct complaints complaints = { 0 };
		struct config *config = NULL;
		char name[128];

		corpus_name(list.gl_pathv[i], name);
		ck_assert_msg(parse_file("config/good", name, &config, &complaints) == 0, "%s%s",
			name, complaints_text(&complaints));
		config_free(config);
	}
	globfree(&list);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_bad_file_is_refused_with_its_line_and_reason, 0, BAD_FILES);
	tcase_add_loop_test(
		cases, no_file_causes_complaints_beside_the_expected_ones, 0, BAD_FILES);
	tcase_add_test(cases, every_bad_file_is_in_the_table);
	tcase_add_test(cases, every_good_file_is_accepted);
}

int main(void)
{
	return unit_test_run("config_corpus", add);
}
