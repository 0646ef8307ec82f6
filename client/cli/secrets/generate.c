#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

#define DIGITS	 "0123456789"
#define SMALL	 "abcdefghijklmnopqrstuvwxyz"
#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const struct {
	const char *name;
	const char *characters;
} charsets[] = {
	{ "alnum", CAPITALS SMALL DIGITS },
	{ "hex", DIGITS "abcdef" },
	{ "base64url", CAPITALS SMALL DIGITS "-_" },
	{ "printable", CAPITALS SMALL DIGITS "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" },
};

/* The characters of a charset's name, or the list itself. */
static const char *charset_of(const char *given)
{
	for (size_t i = 0; given && i < sizeof charsets / sizeof charsets[0]; i++)
		if (strcmp(given, charsets[i].name) == 0)
			return charsets[i].characters;
	return given;
}

/* One character twice would come twice as often; one alone is no choice. */
static int check_charset(const char *charset, struct mayfly_error *err)
{
	for (const char *c = charset; c && *c; c++) {
		if (*c < 32 || *c > 126)
			return error_set(err, CLI_ERROR_USAGE,
				"--charset takes printable ASCII characters, or one of: alnum, "
				"hex, base64url, printable");
		if (strchr(c + 1, *c))
			return error_set(
				err, CLI_ERROR_USAGE, "--charset has the character '%c' twice", *c);
	}
	if (charset && strlen(charset) < 2)
		return error_set(err, CLI_ERROR_USAGE, "--charset needs at least two characters");
	return 0;
}

static void add_number(json_t *wish, const char *name, long long number)
{
	if (number > 0)
		(void)json_object_set_new(wish, name, json_made(json_integer(number)));
}

int generated_wish_read(struct cli *cli, json_t *wish, struct mayfly_error *err)
{
	const char *charset = charset_of(argument_value(cli->arguments, "charset"));
	long long length = 0, bytes = 0;
	int r = argument_number(
		cli->arguments, "length", 1, MAYFLY_VALUE_MAX_BYTES, 0, &length, err);

	if (r == 0)
		r = argument_number(
			cli->arguments, "bytes", 1, MAYFLY_VALUE_MAX_BYTES, 0, &bytes, err);
	if (r == 0)
		r = check_charset(charset, err);
	if (r == 0 && bytes && (length || charset))
		r = error_set(err, CLI_ERROR_USAGE,
			"--bytes makes random bytes, --length and --charset make characters: give "
			"one of both");
	add_number(wish, "length", length);
	add_number(wish, "bytes", bytes);
	if (charset)
		(void)json_object_set_new(wish, "charset", json_made(json_string(charset)));
	return r;
}

int generate_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *wish = json_made(json_object());
	AUTO_JSON json_t *reply = NULL;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = generated_wish_read(cli, wish, err);
	if (r < 0)
		return r;
	(void)json_object_set_new(wish, "name", json_made(json_string(name)));
	if (argument_flag(cli->arguments, "stage"))
		(void)json_object_set_new(wish, "stage", json_true());
	r = operator_ask(cli, "Generate", ptr_take(&wish), &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	say("%s: generated (version %lld); nobody has seen it\n", name,
		(long long)json_number(reply, "version"));
	return CLI_DONE;
}
