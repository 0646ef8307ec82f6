#include "client/cli/terminal/columns.h"

#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LINE_WIDTH 80

void columns_init(struct columns *columns, const char *const *heads, size_t count)
{
	*columns = (struct columns){ .heads = heads, .count = count };
}

void columns_add(struct columns *columns, const char *const *cells)
{
	const size_t used = columns->rows * columns->count;

	columns->cells = reallocarray(columns->cells, used + columns->count, sizeof(char *));
	if (!columns->cells)
		abort();
	for (size_t i = 0; i < columns->count; i++)
		columns->cells[used + i] = text_copy(cells[i]);
	columns->rows++;
}

static size_t width_of(const struct columns *columns, size_t column, size_t limit)
{
	size_t width = strlen(columns->heads[column]);

	for (size_t row = 0; row < columns->rows; row++) {
		const size_t length = strlen(columns->cells[row * columns->count + column]);

		if (length > width && length <= limit)
			width = length;
	}
	return width;
}

static void print_row(const struct columns *columns, const char *const *cells, const size_t *widths)
{
	if (strlen(cells[0]) > widths[0])
		say("%s\n%*s", cells[0], (int)widths[0], "");
	else
		say("%-*s", columns->count > 1 ? (int)widths[0] : 0, cells[0]);
	for (size_t i = 1; i < columns->count; i++)
		/* The last one has no blanks behind it. */
		say("  %-*s", i + 1 < columns->count ? (int)widths[i] : 0, cells[i]);
	say("\n");
}

void columns_print(const struct columns *columns)
{
	size_t widths[COLUMNS_MAX] = { 0 }, others = 0;

	if (columns->rows == 0) {
		say("(none)\n");
		return;
	}
	for (size_t i = 1; i < columns->count; i++) {
		widths[i] = width_of(columns, i, SIZE_MAX);
		others += widths[i] + 2;
	}
	widths[0] = width_of(columns, 0, others < LINE_WIDTH - 20 ? LINE_WIDTH - others : 20);
	print_row(columns, columns->heads, widths);
	for (size_t row = 0; row < columns->rows; row++)
		print_row(columns, (const char *const *)columns->cells + row * columns->count,
			widths);
}

void columns_done(struct columns *columns)
{
	for (size_t i = 0; i < columns->rows * columns->count; i++)
		free(columns->cells[i]);
	free(columns->cells);
	*columns = (struct columns){ 0 };
}
