#include "client/cli/command_line/verb.h"

#include <string.h>

const struct verb_option verb_options_of_all[] = {
	{ "json", 0, NULL, "print the broker's answer as JSON, for programs", WORD_OTHER },
	{ "root", 0, "DIR", "use the instance whose paths lie below DIR (or set MAYFLY_ROOT)",
		WORD_FILE },
	{ "help", 'h', NULL, "explain this verb, with an example", WORD_OTHER },
	{ NULL },
};

const char *verb_section_title(enum verb_section section)
{
	static const char *const titles[SECTION_COUNT] = {
		[SECTION_STORE] = "The store and its keys",
		[SECTION_SECRETS] = "Secrets",
		[SECTION_SETS] = "Sets",
		[SECTION_GRANTS] = "Grants",
		[SECTION_INSIGHT] = "What happened, and is it well",
		[SECTION_COMPOSE] = "Docker Compose",
		[SECTION_SELF] = "This command",
	};

	return section < SECTION_COUNT ? titles[section] : NULL;
}

const struct verb *verb_find(const struct verbs *verbs, const char *name)
{
	for (size_t i = 0; i < verbs->count; i++) {
		const struct verb *verb = &verbs->items[i];

		if (strcmp(verb->name, name) == 0 ||
			(verb->alias && strcmp(verb->alias, name) == 0))
			return verb;
	}
	return NULL;
}

const struct verb *verb_find_pair(const struct verbs *verbs, const char *first, const char *second)
{
	const size_t length = strlen(first);

	for (size_t i = 0; i < verbs->count; i++) {
		const char *name = verbs->items[i].name;

		if (strncmp(name, first, length) == 0 && name[length] == ' ' &&
			strcmp(name + length + 1, second) == 0)
			return &verbs->items[i];
	}
	return NULL;
}

static const struct verb_option *find_in(
	const struct verb_option *options, const char *name, size_t length)
{
	for (; options && options->name; options++)
		if (strlen(options->name) == length && memcmp(options->name, name, length) == 0)
			return options;
	return NULL;
}

const struct verb_option *verb_option_find(const struct verb *verb, const char *name, size_t length)
{
	const struct verb_option *found = verb ? find_in(verb->options, name, length) : NULL;

	return found ? found : find_in(verb_options_of_all, name, length);
}

const struct verb_option *verb_option_find_letter(const struct verb *verb, char letter)
{
	const struct verb_option *lists[] = { verb ? verb->options : NULL, verb_options_of_all };

	for (size_t i = 0; i < 2; i++)
		for (const struct verb_option *o = lists[i]; o && o->name; o++)
			if (o->letter == letter)
				return o;
	return NULL;
}

bool verb_choice_is_known(const char *choices, const char *value)
{
	const size_t length = strlen(value);

	for (const char *at = choices; length > 0 && *at;) {
		const size_t word = strcspn(at, " ");

		if (word == length && memcmp(at, value, length) == 0)
			return true;
		at += word + strspn(at + word, " ");
	}
	return false;
}
