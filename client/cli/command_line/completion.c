#include "client/cli/command_line/completion.h"

#include <string.h>

const char completion_bash_script[] =
	"# bash completion for mayfly\n"
	"_mayfly()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(mayfly completion words \"$((COMP_CWORD - 1))\" "
	"\"${COMP_WORDS[@]:1}\" 2>/dev/null)\n"
	"}\n"
	"complete -o bashdefault -o default -F _mayfly mayfly\n";

/* Where in the command line a word stands. */
struct place {
	const struct verb *verb;
	const struct verb_option *wanting; /* an option whose argument comes now, or NULL */
	size_t words;			   /* words of the verb before this place */
	const char *group;		   /* "key": the first half of a verb, or NULL */
};

static void propose(struct text_list *list, const char *begun, const char *word, size_t length)
{
	AUTO_FREE char *candidate = text_format("%.*s", (int)length, word);

	if (strncmp(candidate, begun, strlen(begun)) == 0 && !text_list_has(list, candidate))
		text_list_add(list, "%s", candidate);
}

static void propose_choices(struct text_list *list, const char *begun, const char *choices)
{
	while (*choices) {
		const size_t length = strcspn(choices, " ");

		propose(list, begun, choices, length);
		choices += length + strspn(choices + length, " ");
	}
}

/* The first words of verbs, or the second words of those of GROUP. */
static void propose_verbs(
	const struct verbs *verbs, const char *group, const char *begun, struct text_list *list)
{
	const size_t group_length = group ? strlen(group) : 0;

	for (size_t i = 0; i < verbs->count; i++) {
		const char *name = verbs->items[i].name;

		if (verbs->items[i].flags & VERB_UNDESCRIBED)
			continue;
		if (!group)
			propose(list, begun, name, strcspn(name, " "));
		else if (strncmp(name, group, group_length) == 0 && name[group_length] == ' ')
			propose(list, begun, name + group_length + 1,
				strlen(name + group_length + 1));
	}
}

static void propose_options(const struct verb *verb, const char *begun, struct text_list *list)
{
	const struct verb_option *lists[] = { verb ? verb->options : NULL, verb_options_of_all };

	for (size_t i = 0; i < 2; i++)
		for (const struct verb_option *o = lists[i]; o && o->name; o++) {
			AUTO_FREE char *option = text_format("--%s", o->name);

			propose(list, begun, option, strlen(option));
		}
}

/* The option that WORD is, if its argument is the next word. */
static const struct verb_option *wanting(const struct verb *verb, const char *word)
{
	const struct verb_option *option =
		word[1] == '-'
			? verb_option_find(verb, word + 2, strlen(word + 2))
			: (word[1] && !word[2] ? verb_option_find_letter(verb, word[1]) : NULL);

	return option && option->argument ? option : NULL;
}

static bool is_group(const struct verbs *verbs, const char *word)
{
	const size_t length = strlen(word);

	for (size_t i = 0; i < verbs->count; i++)
		if (strncmp(verbs->items[i].name, word, length) == 0 &&
			verbs->items[i].name[length] == ' ')
			return true;
	return false;
}

static void pass_verb_word(const struct verbs *verbs, const char *word, struct place *place)
{
	const struct verb *longer = place->group ? verb_find_pair(verbs, place->group, word) : NULL;

	if (longer) {
		place->verb = longer;
		place->group = NULL;
		return;
	}
	if (place->verb) {
		place->group = NULL;
		place->words++;
		return;
	}
	place->verb = verb_find(verbs, word);
	place->group = is_group(verbs, word) ? word : NULL;
}

static struct place find_place(const struct verbs *verbs, const char *const *words, size_t index)
{
	struct place place = { 0 };

	for (size_t i = 0; i < index; i++) {
		if (place.wanting)
			place.wanting = NULL;
		else if (words[i][0] == '-' && words[i][1])
			place.wanting = wanting(place.verb, words[i]);
		else
			pass_verb_word(verbs, words[i], &place);
	}
	return place;
}

static enum word_kind word_of_verb(
	const struct place *place, const char *begun, struct text_list *list)
{
	const struct verb *verb = place->verb;
	const size_t last = VERB_WORDS_MAX - 1;

	if (place->words >= verb->words_max)
		return WORD_OTHER;
	if (verb->choices && place->words == 0)
		propose_choices(list, begun, verb->choices);
	return verb->kinds[place->words < last ? place->words : last];
}

enum word_kind completion_words(const struct verbs *verbs, const char *const *words, size_t index,
	struct text_list *ret_words)
{
	const struct place place = find_place(verbs, words, index);
	const char *begun = words[index] ? words[index] : "";

	if (place.wanting) {
		if (place.wanting->choices)
			propose_choices(ret_words, begun, place.wanting->choices);
		return place.wanting->kind;
	}
	if (place.verb && place.verb->flags & VERB_RAW)
		return WORD_OTHER;
	if (begun[0] == '-') {
		propose_options(place.verb, begun, ret_words);
		return WORD_OTHER;
	}
	if (place.group)
		propose_verbs(verbs, place.group, begun, ret_words);
	if (!place.verb && !place.group)
		propose_verbs(verbs, NULL, begun, ret_words);
	return place.verb ? word_of_verb(&place, begun, ret_words) : WORD_OTHER;
}
