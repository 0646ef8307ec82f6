#include "client/exec/environment.h"

#include "client/lib/wire/failure.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of one string of execve(), with its NUL: the kernel's MAX_ARG_STRLEN, which is in no libc header.
 */
#define STRING_MAX_PAGES 32

static bool is_name_character(char c, bool is_first)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
	       (!is_first && c >= '0' && c <= '9');
}

const char *env_wish_parse(const char *text, struct env_wish *ret_wish)
{
	const size_t length = strcspn(text, "=");

	if (text[length] != '=')
		return "is no NAME=SECRET";
	for (size_t i = 0; i < length; i++)
		if (!is_name_character(text[i], i == 0))
			return "has a name that is more than letters, digits and '_'";
	if (length == 0)
		return "has no name";
	if (!text[length + 1])
		return "names no secret";
	*ret_wish = (struct env_wish){ text, length, text + length + 1 };
	return NULL;
}

void env_entry_done(struct env_entry *entry)
{
	locked_memory_done(&entry->memory);
}

enum mayfly_status env_entry_make(const struct env_wish *wish, const struct mayfly_value *value,
	struct env_entry *ret_entry, struct mayfly_failure *failure)
{
	const size_t length = mayfly_value_length(value);
	const size_t before = wish->name_length + 1;
	const size_t longest = STRING_MAX_PAGES * (size_t)sysconf(_SC_PAGESIZE);
	int lock_error, r;

	if (memchr(mayfly_value_bytes(value), '\0', length))
		return failure_set(failure, MAYFLY_NOT_READABLE,
			"%s has a NUL byte, which no environment variable can hold: let the "
			"program read the file",
			wish->file);
	if (before + length + 1 > longest)
		return failure_set(failure, MAYFLY_NOT_READABLE,
			"%s has %zu bytes, an environment variable holds at most %zu: let the "
			"program read the file",
			wish->file, length, longest - before - 1);
	/* It ends in zeros. What cannot be locked is no worse than the environment it is for. */
	r = locked_memory_map(before + length + 1, &ret_entry->memory, &lock_error);
	if (r < 0)
		return failure_errno(failure, MAYFLY_NO_MEMORY, -r, "memory for %s", wish->file);
	memcpy(ret_entry->memory.bytes, wish->assignment, before);
	memcpy(ret_entry->memory.bytes + before, mayfly_value_bytes(value), length);
	return MAYFLY_OK;
}

static bool is_replaced(const char *present, const struct env_wish *wishes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(present, wishes[i].assignment, wishes[i].name_length + 1) == 0)
			return true;
	return false;
}

char **environment_make(char **environment, const struct env_wish *wishes,
	const struct env_entry *entries, size_t count)
{
	size_t present = 0, used = 0;
	char **made;

	while (environment[present])
		present++;
	made = calloc(present + count + 1, sizeof *made);
	if (!made)
		return NULL;
	for (size_t i = 0; i < present; i++)
		if (!is_replaced(environment[i], wishes, count))
			made[used++] = environment[i];
	for (size_t i = 0; i < count; i++)
		made[used++] = (char *)entries[i].memory.bytes;
	return made;
}
