#include "client/cli/command_line/help.h"

#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

#define LINE_WIDTH   80
#define NAME_WIDTH   15
#define OPTION_WIDTH 28

static void print_section(const struct verbs *verbs, enum verb_section section)
{
	say_painted(PAINT_STRONG, "\n%s\n", verb_section_title(section));
	for (size_t i = 0; i < verbs->count; i++) {
		const struct verb *verb = &verbs->items[i];

		if (verb->section != section || verb->flags & VERB_UNDESCRIBED)
			continue;
		say("  %-*s ", NAME_WIDTH, verb->name);
		say_wrapped(NAME_WIDTH + 3, LINE_WIDTH, verb->summary);
	}
}

void help_print_overview(const struct verbs *verbs)
{
	say("mayfly: secrets that come to life when the right container opens them\n\n"
	    "usage: mayfly VERB [options]    mayfly VERB --help explains one, with an example\n");
	for (int section = 0; section < SECTION_COUNT; section++)
		print_section(verbs, (enum verb_section)section);
	say("\nEvery verb: --help, --json, --root DIR.\n"
	    "Exit status: 0 done, 1 refused or failed, 2 usage, 3 broker not reachable.\n");
}

char *help_usage(const struct verb *verb)
{
	char *usage =
		text_format("mayfly %s%s%s", verb->name, verb->words[0] ? " " : "", verb->words);

	for (const struct verb_option *o = verb->options; o && o->name; o++) {
		char *longer =
			text_format("%s [--%s%s%s]%s", usage, o->name, o->argument ? " " : "",
				o->argument ? o->argument : "", o->repeatable ? "..." : "");

		free(usage);
		usage = longer;
	}
	return usage;
}

static void print_option(const struct verb_option *option)
{
	AUTO_FREE char *name = text_format("%s%c%s--%s%s%s", option->letter ? "-" : "",
		option->letter ? option->letter : ' ', option->letter ? ", " : "   ", option->name,
		option->argument ? " " : "", option->argument ? option->argument : "");

	if (strlen(name) > OPTION_WIDTH)
		say("  %s\n  %*s ", name, OPTION_WIDTH, "");
	else
		say("  %-*s ", OPTION_WIDTH, name);
	say_wrapped(OPTION_WIDTH + 3, LINE_WIDTH, option->text);
}

/* Paragraphs are separated by an empty line. */
static void print_paragraphs(const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		const size_t length = end ? (size_t)(end - text) : strlen(text);
		AUTO_FREE char *paragraph = text_format("%.*s", (int)length, text);

		say("\n");
		say_wrapped(0, LINE_WIDTH, paragraph);
		text += length + (end ? 2 : 0);
	}
}

static void print_example(const char *example)
{
	say_painted(PAINT_STRONG, "\nExample\n");
	while (*example) {
		const size_t length = strcspn(example, "\n");

		say("  %.*s\n", (int)length, example);
		example += length;
		example += *example == '\n' ? 1 : 0;
	}
}

void help_print_verb(const struct verb *verb)
{
	AUTO_FREE char *usage = help_usage(verb);

	say("mayfly %s: %s\n\n", verb->name, verb->summary);
	say("usage: ");
	say_wrapped(7, LINE_WIDTH, usage);
	if (verb->alias)
		say("also:  mayfly %s\n", verb->alias);
	print_paragraphs(verb->description);
	say_painted(PAINT_STRONG, "\nOptions\n");
	for (const struct verb_option *o = verb->options; o && o->name; o++)
		print_option(o);
	for (const struct verb_option *o = verb_options_of_all; o->name; o++)
		print_option(o);
	print_example(verb->example);
}
