/* Tables for people: columns as wide as what is in them. */
#pragma once

#include <stddef.h>

#define COLUMNS_MAX 6

struct columns {
	const char *const *heads; /* COUNT of them */
	size_t count;
	char **cells; /* rows * count, owned */
	size_t rows;
};

/* HEADS must outlive the table. */
void columns_init(struct columns *columns, const char *const *heads, size_t count);
/* Adds one row of COUNT cells, which are copied. */
void columns_add(struct columns *columns, const char *const *cells);
/* Prints the table with its heads on standard output; nothing but "(none)" without rows. A first
 * cell that would push the others out of 80 columns stands on a line of its own. */
void columns_print(const struct columns *columns);
void columns_done(struct columns *columns);
