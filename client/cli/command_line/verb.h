/* What a verb is: a row of the verb table, which is the help, the manual pages, the completion and
 * the argument parser in one. Holds descriptions only; does nothing. */
#pragma once

#include "client/cli/cli.h"

#include <stdbool.h>
#include <stddef.h>

/* What stands at a place of the command line, for completion. */
enum word_kind {
	WORD_OTHER = 0, /* nothing can be proposed */
	WORD_SECRET,	/* SET/NAME, from the broker */
	WORD_SET,
	WORD_CONTAINER,
	WORD_GRANT,
	WORD_FILE,
	WORD_VERB,
};

struct verb_option {
	const char *name;     /* without "--"; NULL ends the list */
	char letter;	      /* 0: none */
	const char *argument; /* "FILE"; NULL: a flag */
	const char *text;     /* one sentence without its full stop */
	enum word_kind kind;
	const char *choices; /* "a b c": the only values, or NULL */
	bool repeatable;
};

enum verb_section {
	SECTION_STORE,
	SECTION_SECRETS,
	SECTION_SETS,
	SECTION_GRANTS,
	SECTION_INSIGHT,
	SECTION_COMPOSE,
	SECTION_SELF,
	SECTION_COUNT
};

enum verb_flag {
	VERB_NO_JSON = 1 << 0,	    /* prints nothing that JSON could carry */
	VERB_TAKES_VALUE = 1 << 1,  /* a word too many is probably a value: it is not repeated */
	VERB_RAW = 1 << 2,	    /* every word behind it belongs to another program */
	VERB_UNDESCRIBED = 1 << 3,  /* part of another verb's machinery: no page, no completion */
	VERB_NO_HARDENING = 1 << 4, /* never sees a value and becomes another program */
};

#define VERB_WORDS_MAX 3

struct verb {
	const char *name;    /* "key add" */
	const char *alias;   /* another name, or NULL */
	const char *summary; /* one line, small first letter, no full stop */
	const char *words;   /* what it takes beside options: "SET/NAME [FILE]" */
	unsigned words_min, words_max;
	enum word_kind kinds[VERB_WORDS_MAX]; /* of its words; the last one's kind goes on */
	const char *choices;		      /* of its first word, "a b c", or NULL */
	const struct verb_option *options;    /* NULL: only those that every verb has */
	const char *description;	      /* paragraphs, separated by an empty line */
	const char *example;		      /* command lines, one a line */
	enum verb_section section;
	unsigned flags;
	/* Returns an exit status, or a negative errno with ERR set, which main() prints. */
	int (*run)(struct cli *cli, struct mayfly_error *err);
};

/* A list of verbs. */
struct verbs {
	const struct verb *items;
	size_t count;
};

/* Options of every verb: --root, --json, --help. */
extern const struct verb_option verb_options_of_all[];

/* The title of a section of the help, or NULL. */
const char *verb_section_title(enum verb_section section);

/* The verb of that name or alias, or NULL. */
const struct verb *verb_find(const struct verbs *verbs, const char *name);

/* The verb "FIRST SECOND", or NULL. */
const struct verb *verb_find_pair(const struct verbs *verbs, const char *first, const char *second);

/* The option of VERB or of all verbs with that name (LENGTH bytes of it) or letter, or NULL. */
const struct verb_option *verb_option_find(
	const struct verb *verb, const char *name, size_t length);
const struct verb_option *verb_option_find_letter(const struct verb *verb, char letter);

/* True if VALUE is one of the words in CHOICES ("a b c"). */
bool verb_choice_is_known(const char *choices, const char *value);
