#include "daemon/broker/config/complaint.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void complaints_done(struct complaints *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].where);
		free(list->items[i].text);
		free(list->items[i].nearest);
	}
	free(list->items);
	*list = (struct complaints){ 0 };
}

void complaint_add(struct complaints *list, const char *file, unsigned line, const char *nearest,
	const char *format, ...)
{
	struct complaint complaint = { 0 };
	va_list arguments;
	int r;

	r = line ? asprintf(&complaint.where, "%s:%u", file, line)
		 : asprintf(&complaint.where, "%s", file);
	assert(r >= 0);
	va_start(arguments, format);
	r = vasprintf(&complaint.text, format, arguments);
	va_end(arguments);
	assert(r >= 0);
	if (nearest) {
		complaint.nearest = strdup(nearest);
		assert(complaint.nearest);
	}
	list->items = reallocarray(list->items, list->count + 1, sizeof *list->items);
	assert(list->items);
	list->items[list->count++] = complaint;
}

int complaints_to_error(const struct complaints *list, struct mayfly_error *err)
{
	const struct complaint *first = &list->items[0];
	char more[48] = "";

	assert(list->count > 0);
	if (list->count > 1)
		(void)snprintf(more, sizeof more, " (and %zu more)", list->count - 1);
	return error_set(err, -EINVAL, "%s: %s%s%s%s%s", first->where, first->text,
		first->nearest ? "; did you mean '" : "", first->nearest ? first->nearest : "",
		first->nearest ? "'?" : "", more);
}
