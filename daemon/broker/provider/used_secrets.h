/* Which secrets, in which versions, are in the files of a delivery: kept for as long as it lives,
 * so in one piece of memory. Names, no values. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct used_secret {
	const char *path; /* of the file in the delivery */
	const char *set, *name;
	const char *grant; /* that gives the file; "" in a row of before */
	uint32_t version;
};

struct used_secrets {
	size_t count;
	struct used_secret items[]; /* the strings follow */
};

/* From an array of {"path", "grant", "set", "name", "version"}, one for each secret of each file; what is
 * none is left out. The caller frees *RET_USED with free(). -ENOMEM. */
int used_secrets_new(json_t *array, struct used_secrets **ret_used);

/* The same array again, the caller's. USED may be NULL. */
json_t *used_secrets_to_json(const struct used_secrets *used);
