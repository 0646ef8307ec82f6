/* A store whose values are known, and the question whether they still are what they were. */
#pragma once

#include "store_fixture.h"

/* Values that can be read: all but that of the removed secret. prod/a, the first, has three. */
#define HELD_READABLE 7

/* A closed store with all of it, and its file in *RET_FILE. */
void held_begin(struct fixture *f, struct bytes *ret_file);
void held_end(struct fixture *f, struct bytes *file);

struct held_findings {
	unsigned right;	  /* values that are as they were */
	bool is_verified; /* store_verify() finds nothing */
};

/* Opens the store, asks for everything, closes it. Fails the test when a value is another, whatever
 * was done to the file; WHAT says what it was. */
struct held_findings held_examine(struct fixture *f, const char *what);

/* And fails when nothing is found. */
void held_assert_found(struct fixture *f, const char *what);
