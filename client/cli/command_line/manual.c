#include "client/cli/command_line/help.h"
#include "client/cli/terminal/text.h"

#include <string.h>

/* Text for roff: a backslash and a hyphen mean something, and so do '.' and '\'' at the start of a
 * line. What is written to standard output is checked once at the end of the program. */
static void put_text(const char *text)
{
	bool at_start = true;

	for (const char *c = text; *c; c++) {
		if (at_start && (*c == '.' || *c == '\''))
			(void)fputs("\\&", stdout);
		if (*c == '\\')
			(void)fputs("\\e", stdout);
		else if (*c == '-')
			(void)fputs("\\-", stdout);
		else if (*c == '`' || *c == '\'')
			(void)fputs(*c == '`' ? "\\(ga" : "\\(aq", stdout);
		else
			(void)fputc(*c, stdout);
		at_start = *c == '\n';
	}
}

static void put_line(const char *before, const char *text, const char *after)
{
	(void)fputs(before, stdout);
	put_text(text);
	(void)fputs(after, stdout);
}

/* Small letters, as a page's name is written. */
char *manual_name(const struct verb *verb)
{
	char *name = text_format("mayfly%s%s", verb ? "-" : "", verb ? verb->name : "");

	for (char *c = name; *c; c++)
		if (*c == ' ')
			*c = '-';
	return name;
}

static void put_title(const char *page, const char *summary)
{
	AUTO_FREE char *title = text_copy(page);

	for (char *c = title; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	put_line(".TH \"", title, "\" 1 \"\" \"mayfly " MAYFLY_VERSION "\" \"Mayfly\"\n");
	/* Neither hyphens nor stretched lines in what people copy. */
	(void)fputs(".nh\n.ad l\n.SH NAME\n", stdout);
	put_line("", page, " \\- ");
	put_line("", summary, "\n");
}

static void put_option(const struct verb_option *option)
{
	(void)fputs(".TP\n", stdout);
	if (option->letter) {
		const char letter[] = { '-', option->letter, '\0' };

		put_line("\\fB", letter, "\\fR, ");
	}
	(void)fputs("\\fB\\-\\-", stdout);
	put_text(option->name);
	(void)fputs("\\fR", stdout);
	if (option->argument)
		put_line(" \\fI", option->argument, "\\fR");
	put_line("\n", option->text, "\n");
}

static void put_paragraphs(const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		const size_t length = end ? (size_t)(end - text) : strlen(text);
		AUTO_FREE char *paragraph = text_format("%.*s", (int)length, text);

		put_line("", paragraph, "\n");
		text += length + (end ? 2 : 0);
		if (*text)
			(void)fputs(".PP\n", stdout);
	}
}

static void put_ending(void)
{
	(void)fputs(".SH EXIT STATUS\n0 done, 1 refused or failed, 2 usage, 3 broker not "
		    "reachable.\n.SH ENVIRONMENT\n.TP\n\\fBMAYFLY_ROOT\\fR\nAs \\fB\\-\\-root\\fR."
		    "\n.TP\n\\fBNO_COLOR\\fR\nIf it is set, nothing is coloured.\n",
		stdout);
}

static void put_verb(const struct verb *verb)
{
	AUTO_FREE char *page = manual_name(verb);
	AUTO_FREE char *usage = help_usage(verb);

	put_title(page, verb->summary);
	put_line(".SH SYNOPSIS\n", usage, "\n");
	if (verb->alias)
		put_line(".br\nmayfly ", verb->alias, " ...\n");
	(void)fputs(".SH DESCRIPTION\n", stdout);
	put_paragraphs(verb->description);
	(void)fputs(".SH OPTIONS\n", stdout);
	for (const struct verb_option *o = verb->options; o && o->name; o++)
		put_option(o);
	for (const struct verb_option *o = verb_options_of_all; o->name; o++)
		put_option(o);
	put_ending();
	put_line(".SH EXAMPLE\n.nf\n", verb->example, "\n.fi\n");
	(void)fputs(".SH SEE ALSO\n\\fBmayfly\\fR(1)\n", stdout);
}

static void put_section(const struct verbs *verbs, enum verb_section section)
{
	put_line(".SS \"", verb_section_title(section), "\"\n");
	for (size_t i = 0; i < verbs->count; i++) {
		const struct verb *verb = &verbs->items[i];
		AUTO_FREE char *page = manual_name(verb);

		if (verb->section != section || verb->flags & VERB_UNDESCRIBED)
			continue;
		put_line(".TP\n\\fB", page, "\\fR(1)\n");
		put_line("", verb->summary, "\n");
	}
}

static void put_overview(const struct verbs *verbs)
{
	put_title("mayfly", "secrets for containers, from the operator's side");
	(void)fputs(".SH SYNOPSIS\nmayfly \\fIVERB\\fR [options]\n.SH DESCRIPTION\n", stdout);
	put_paragraphs(
		"Mayfly gives containers their secrets as files in memory, when they start and "
		"while they run; the files are empty when they stop. This command talks to the "
		"broker on this host, through /run/mayfly/operator.sock.\n\n"
		"A secret has a name SET/NAME, as prod/db-password. A set is an environment; the "
		"host's own is named in /etc/mayfly/mayflyd.json. A grant says which containers "
		"get which secrets; grants are files in /etc/mayfly/policy.d.\n\n"
		"Values are typed at a prompt, piped in, or read from a file. They are never "
		"taken from the command line or the environment, and never printed but by "
		"reveal.");
	(void)fputs(".SH VERBS\n", stdout);
	for (int section = 0; section < SECTION_COUNT; section++)
		put_section(verbs, (enum verb_section)section);
	(void)fputs(".SH OPTIONS OF EVERY VERB\n", stdout);
	for (const struct verb_option *o = verb_options_of_all; o->name; o++)
		put_option(o);
	put_ending();
	(void)fputs(".SH FILES\n.TP\n\\fB/etc/mayfly/mayflyd.json\\fR\nThe broker's configuration."
		    "\n.TP\n\\fB/etc/mayfly/policy.d/*.json\\fR\nThe grants.\n",
		stdout);
}

void manual_print(const struct verbs *verbs, const struct verb *verb)
{
	if (verb)
		put_verb(verb);
	else
		put_overview(verbs);
}
