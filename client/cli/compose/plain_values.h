/* Values in a compose file's `environment:` that look like secrets: nobody should commit them
 * without having been told. Names only; pure. */
#pragma once

#include "client/cli/terminal/text.h"

#include <jansson.h>

/* Adds one line to NOTES for each variable of MODEL whose name says password, secret, token or key
 * and whose value stands in the file. */
void plain_values_find(json_t *model, struct text_list *notes);
