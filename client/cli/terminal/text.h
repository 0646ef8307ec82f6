/* Strings on the heap for one run of the command. Never values.
 * Out of memory ends the program with CLI_REFUSED: there is nothing to undo in a reader of words.
 */
#pragma once

#include "proto/cleanup.h"
#include "proto/error.h"
#include "proto/json_member.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A formatted string that the caller frees. */
char *text_format(const char *format, ...) MAYFLY_PRINTF(1, 2);
char *text_copy(const char *text);

/* JSON, which may be NULL only because memory is short, or ends the program. */
json_t *json_made(json_t *json);

static inline void json_decref_p(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}
#define AUTO_JSON MAYFLY_CLEANUP(json_decref_p)

/* "s" where COUNT things are more or less than one. */
static inline const char *plural(long long count)
{
	return count == 1 ? "" : "s";
}

/* Lines that are told together. */
struct text_list {
	char **items;
	size_t count;
};

void text_list_add(struct text_list *list, const char *format, ...) MAYFLY_PRINTF(2, 3);
bool text_list_has(const struct text_list *list, const char *text);
void text_list_done(struct text_list *list);

/* Copies TEXT with every character that could steer a terminal replaced by '?': control characters
 * but newline and tab, DEL, and the C1 controls in UTF-8. The caller frees it. */
char *text_clean(const char *text);
