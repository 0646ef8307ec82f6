/* Every verb of `mayfly`: the one place where verbs are described. Help, manual pages, completion
 * and the argument parser are made from it. */
#pragma once

#include "client/cli/command_line/verb.h"

/* The table, which lives as long as the program. */
struct verbs verb_table(void);
