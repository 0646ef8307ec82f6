/* The verb table as help, manual pages and completion. Prints; reads nothing but the table. */
#pragma once

#include "client/cli/command_line/verb.h"

#include <stdio.h>

/* Prints what all verbs are for. */
void help_print_overview(const struct verbs *verbs);

/* Prints everything about VERB. */
void help_print_verb(const struct verb *verb);

/* "mayfly put SET/NAME [--from-file FILE] [--exact]"; the caller frees it. */
char *help_usage(const struct verb *verb);

/* Writes the manual page of VERB (NULL: of the command itself) as roff on standard output. */
void manual_print(const struct verbs *verbs, const struct verb *verb);

/* The name of VERB's page, "mayfly-key-add"; the caller frees it. */
char *manual_name(const struct verb *verb);
