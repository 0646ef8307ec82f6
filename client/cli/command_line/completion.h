/* Completion for bash. The script only asks this program, so that it knows every verb, option and
 * name without a list of its own. */
#pragma once

#include "client/cli/command_line/verb.h"
#include "client/cli/terminal/text.h"

/* The script for `eval`, or for bash-completion's folder. */
extern const char completion_bash_script[];

/* What can stand at word INDEX (from 0, the first behind `mayfly`) of WORDS, whose words before it
 * are complete. Verbs, options and choices go to *RET_WORDS; names that only the broker knows are
 * told by the result. Only what begins with the present text is proposed. Pure. */
enum word_kind completion_words(const struct verbs *verbs, const char *const *words, size_t index,
	struct text_list *ret_words);
