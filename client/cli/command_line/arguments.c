#include "client/cli/command_line/arguments.h"

#include "proto/cleanup.h"
#include "proto/secret_name.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 96

/* What the parser has in its hands. */
struct parsing {
	const struct verbs *verbs;
	const char *const *argv;
	size_t at;
	struct arguments arguments;
};

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] != '\0';
}

/* " Did you mean ...?" for WORD, or nothing. */
static const char *suggestion(char *buffer, size_t size, const char *word, const char *const *words,
	size_t count, const char *before)
{
	const char *near = nearest_word(word, words, count);

	buffer[0] = '\0';
	if (near)
		(void)snprintf(buffer, size, "; did you mean '%s%s'?", before, near);
	return buffer;
}

/* The first word of a verb's name, in BUFFER if it has two. */
static const char *first_word(const char *name, char *buffer, size_t size)
{
	const size_t length = strcspn(name, " ");

	if (name[length] == '\0' || length >= size)
		return name;
	memcpy(buffer, name, length);
	buffer[length] = '\0';
	return buffer;
}

static int refuse_unknown_verb(
	const struct verbs *verbs, const char *word, struct mayfly_error *err)
{
	const char *names[2 * NAMES_MAX];
	char groups[NAMES_MAX][16], shown[40], hint[100];
	size_t count = 0;

	for (size_t i = 0; i < verbs->count && i < NAMES_MAX; i++) {
		const struct verb *verb = &verbs->items[i];

		if (verb->flags & VERB_UNDESCRIBED)
			continue;
		names[count++] = first_word(verb->name, groups[i], sizeof groups[i]);
		if (verb->alias)
			names[count++] = verb->alias;
	}
	return error_set(err, CLI_ERROR_USAGE, "there is no verb '%s'%s\n`mayfly help` lists them",
		error_quote(shown, sizeof shown, word, strlen(word)),
		suggestion(hint, sizeof hint, word, names, count, ""));
}

int arguments_refuse_verb(
	const struct verbs *verbs, const char *group, const char *second, struct mayfly_error *err)
{
	const size_t length = strlen(group);
	const char *names[NAMES_MAX];
	char list[200] = "", hint[100] = "";
	size_t count = 0;

	for (size_t i = 0; i < verbs->count && count < NAMES_MAX; i++) {
		const char *name = verbs->items[i].name;
		const size_t used = strlen(list);

		if (strncmp(name, group, length) != 0 || name[length] != ' ')
			continue;
		names[count++] = name + length + 1;
		(void)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
			name + length + 1);
	}
	if (count == 0)
		return refuse_unknown_verb(verbs, group, err);
	if (second)
		(void)suggestion(hint, sizeof hint, second, names, count, "");
	return error_set(err, CLI_ERROR_USAGE, "'%s' needs one of: %s%s", group, list, hint);
}

/* The verb that begins at AT, by its two words or its first; moves behind it. */
static int parse_verb(struct parsing *p, struct mayfly_error *err)
{
	const char *first = p->argv[p->at], *second = p->argv[p->at + 1];
	const struct verb *verb = second ? verb_find_pair(p->verbs, first, second) : NULL;

	p->at += verb ? 2 : 1;
	if (!verb)
		verb = verb_find(p->verbs, first);
	if (!verb)
		return arguments_refuse_verb(p->verbs, first, second, err);
	p->arguments.verb = verb;
	return 0;
}

static const char *verb_shown(const struct parsing *p)
{
	return p->arguments.verb ? p->arguments.verb->name : "";
}

static int refuse_unknown_option(struct parsing *p, const char *word, struct mayfly_error *err)
{
	const struct verb *verb = p->arguments.verb;
	const struct verb_option *lists[] = { verb ? verb->options : NULL, verb_options_of_all };
	const char *names[NAMES_MAX];
	/* Only the name: what stands behind "=" may be a value, what follows a letter too. */
	const size_t length = word[1] == '-' ? strcspn(word, "=") : 2;
	char shown[40], name[40], hint[100];
	size_t count = 0;

	for (size_t i = 0; i < 2; i++)
		for (const struct verb_option *o = lists[i]; o && o->name && count < NAMES_MAX; o++)
			names[count++] = o->name;
	(void)snprintf(name, sizeof name, "%.*s", length > 2 ? (int)(length - 2) : 0, word + 2);
	return error_set(err, CLI_ERROR_USAGE,
		"there is no option '%s'%s\n`mayfly %s%s--help` lists them",
		error_quote(shown, sizeof shown, word, length),
		suggestion(hint, sizeof hint, name, names, count, "--"), verb_shown(p),
		verb ? " " : "");
}

static int check_choice(
	const struct verb_option *option, const char *value, struct mayfly_error *err)
{
	if (!option->choices || verb_choice_is_known(option->choices, value))
		return 0;
	return error_set(err, CLI_ERROR_USAGE, "--%s is one of: %s", option->name, option->choices);
}

static int add_option(struct parsing *p, const struct verb_option *option, const char *value,
	struct mayfly_error *err)
{
	if (option->argument && !value) {
		value = p->argv[p->at];
		if (!value)
			return error_set(err, CLI_ERROR_USAGE, "--%s needs %s", option->name,
				option->argument);
		p->at++;
	}
	if (!option->argument && value)
		return error_set(err, CLI_ERROR_USAGE, "--%s takes nothing", option->name);
	p->arguments.options[p->arguments.options_count++] = (struct option_given){ option, value };
	return value ? check_choice(option, value, err) : 0;
}

/* One word that begins with '-': "--name", "--name=value", "-n", "-nvalue". */
static int parse_option(struct parsing *p, struct mayfly_error *err)
{
	const char *word = p->argv[p->at++];
	const struct verb_option *option;
	const char *value = NULL;

	if (word[1] == '-') {
		const size_t length = strcspn(word + 2, "=");

		option = verb_option_find(p->arguments.verb, word + 2, length);
		value = word[2 + length] == '=' ? word + 2 + length + 1 : NULL;
	} else {
		option = verb_option_find_letter(p->arguments.verb, word[1]);
		value = word[2] != '\0' ? word + 2 : NULL;
	}
	if (!option)
		return refuse_unknown_option(p, word, err);
	return add_option(p, option, value, err);
}

static int refuse_words(const struct parsing *p, struct mayfly_error *err)
{
	const struct verb *verb = p->arguments.verb;

	if (p->arguments.words_count < verb->words_min)
		return error_set(err, CLI_ERROR_USAGE,
			"too few words: mayfly %s %s\nsee `mayfly %s --help`", verb->name,
			verb->words, verb->name);
	if (verb->flags & VERB_TAKES_VALUE)
		return error_set(err, CLI_ERROR_USAGE,
			"a value is never taken from the command line: every process here can read "
			"it there, and your shell's history has it by now\n"
			"type it at the prompt, pipe it in, or give --from-file FILE; and take "
			"another value");
	return error_set(err, CLI_ERROR_USAGE,
		"too many words: mayfly %s%s%s\nsee `mayfly %s --help`", verb->name,
		verb->words[0] ? " " : "", verb->words, verb->name);
}

static int check_words(const struct parsing *p, struct mayfly_error *err)
{
	const struct verb *verb = p->arguments.verb;

	if (!verb || argument_flag(&p->arguments, "help"))
		return 0;
	if (p->arguments.words_count < verb->words_min ||
		p->arguments.words_count > verb->words_max)
		return refuse_words(p, err);
	if (verb->choices && p->arguments.words_count > 0 &&
		!verb_choice_is_known(verb->choices, p->arguments.words[0]))
		return error_set(err, CLI_ERROR_USAGE, "%s %s: it is one of: %s", verb->name,
			verb->words, verb->choices);
	if (verb->flags & VERB_NO_JSON && argument_flag(&p->arguments, "json"))
		return error_set(
			err, CLI_ERROR_USAGE, "there is no JSON of what '%s' prints", verb->name);
	return 0;
}

/* Whether what follows belongs to another program. Its --help right behind the verb is ours. */
static bool is_raw(const struct parsing *p)
{
	const char *next = p->argv[p->at];

	if (!p->arguments.verb || !(p->arguments.verb->flags & VERB_RAW))
		return false;
	return !next || (strcmp(next, "--help") != 0 && strcmp(next, "-h") != 0);
}

static int parse_word(struct parsing *p, bool *options_ended, struct mayfly_error *err)
{
	const char *word = p->argv[p->at];

	if (is_raw(p)) {
		while (p->argv[p->at])
			p->arguments.words[p->arguments.words_count++] = p->argv[p->at++];
		return 0;
	}
	if (!*options_ended && strcmp(word, "--") == 0) {
		*options_ended = true;
		p->at++;
		return 0;
	}
	/* "--version" is another name of a verb. */
	if (!*options_ended && is_option(word) && (p->arguments.verb || !verb_find(p->verbs, word)))
		return parse_option(p, err);
	if (!p->arguments.verb)
		return parse_verb(p, err);
	p->arguments.words[p->arguments.words_count++] = word;
	p->at++;
	return 0;
}

int arguments_parse(const struct verbs *verbs, const char *const *argv,
	struct arguments *ret_arguments, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(arguments_done) struct arguments guard = { 0 };
	struct parsing p = { .verbs = verbs, .argv = argv };
	bool options_ended = false;
	size_t count = 0;
	int r = 0;

	while (argv[count])
		count++;
	guard.options = calloc(count + 1, sizeof *guard.options);
	guard.words = calloc(count + 1, sizeof *guard.words);
	if (!guard.options || !guard.words)
		return error_errno(err, -ENOMEM, "read the command line");
	p.arguments = guard;
	while (r == 0 && argv[p.at])
		r = parse_word(&p, &options_ended, err);
	if (r == 0)
		r = check_words(&p, err);
	if (r < 0)
		return r;
	*ret_arguments = p.arguments;
	guard = (struct arguments){ 0 };
	return 0;
}

void arguments_done(struct arguments *arguments)
{
	free(arguments->options);
	free(arguments->words);
	*arguments = (struct arguments){ 0 };
}

static const struct option_given *last_given(const struct arguments *arguments, const char *name)
{
	const struct verb_option *option = verb_option_find(arguments->verb, name, strlen(name));

	/* A misspelt name would be an option that silently never works. */
	assert(option);
	for (size_t i = arguments->options_count; i > 0; i--)
		if (arguments->options[i - 1].option == option)
			return &arguments->options[i - 1];
	return NULL;
}

const char *argument_value(const struct arguments *arguments, const char *name)
{
	const struct option_given *given = last_given(arguments, name);

	return given ? given->value : NULL;
}

bool argument_flag(const struct arguments *arguments, const char *name)
{
	return last_given(arguments, name) != NULL;
}

const char *argument_next(const struct arguments *arguments, const char *name, size_t *at)
{
	const struct verb_option *option = verb_option_find(arguments->verb, name, strlen(name));

	assert(option && option->repeatable);
	while (*at < arguments->options_count) {
		const struct option_given *given = &arguments->options[(*at)++];

		if (given->option == option)
			return given->value;
	}
	return NULL;
}

int number_parse(const char *what, const char *text, long long minimum, long long maximum,
	long long *ret_number, struct mayfly_error *err)
{
	char *end = NULL;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == ' ' || number < minimum ||
		number > maximum)
		return error_set(err, CLI_ERROR_USAGE, "%s is a whole number from %lld to %lld",
			what, minimum, maximum);
	*ret_number = number;
	return 0;
}

int argument_number(const struct arguments *arguments, const char *name, long long minimum,
	long long maximum, long long fallback, long long *ret_number, struct mayfly_error *err)
{
	const char *text = argument_value(arguments, name);
	char what[64];

	*ret_number = fallback;
	if (!text)
		return 0;
	(void)snprintf(what, sizeof what, "--%s", name);
	return number_parse(what, text, minimum, maximum, ret_number, err);
}
