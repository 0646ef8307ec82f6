/* Memory of libcurl and OpenSSL that is overwritten before it is given back: they copy tokens,
 * credentials and answers into buffers of their own. malloc's own perturbation leaves what goes to
 * its thread caches as it was. Any thread. */
#pragma once

#include "proto/error.h"

#include <stddef.h>

/* Has both libraries allocate here, and initialises them with all that they read from disk at
 * first use. Once for the process, before either is used and before the sandbox, with one thread.
 * Returns 0 or -ENOMEM. */
int wiping_memory_install(struct mayfly_error *err);

/* As malloc() and its kin. */
void *wiping_malloc(size_t size);
void *wiping_realloc(void *old, size_t size);
void wiping_free(void *memory);
