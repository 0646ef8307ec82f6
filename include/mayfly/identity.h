/* What the broker believes about the process that asks, and how it knows it. Does no I/O.
 * An index is a whole number below the count that belongs to it; a larger one is a mistake of the
 * caller that gives NULL or false. */
#pragma once

#include <mayfly/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Does not change. Made by mayfly_whoami(). */
struct mayfly_identity;

/* The name of the container that IDENTITY is of, as its engine has it.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, WhoAmI. */
MAYFLY_API const char *mayfly_identity_container(const struct mayfly_identity *identity);

/* The full id of the container that IDENTITY is of.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, WhoAmI. */
MAYFLY_API const char *mayfly_identity_container_id(const struct mayfly_identity *identity);

/* The name, in the host's configuration, of the engine that runs the container of IDENTITY.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, WhoAmI. */
MAYFLY_API const char *mayfly_identity_engine(const struct mayfly_identity *identity);

/* How many grants match the container of IDENTITY.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, WhoAmI. */
MAYFLY_API size_t mayfly_identity_grant_count(const struct mayfly_identity *identity);

/* The name of the grant at INDEX of IDENTITY.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, WhoAmI. */
MAYFLY_API const char *mayfly_identity_grant(const struct mayfly_identity *identity, size_t index);

/* How many facts IDENTITY rests on.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Fact. */
MAYFLY_API size_t mayfly_identity_fact_count(const struct mayfly_identity *identity);

/* What the fact at INDEX of IDENTITY is about.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Fact. */
MAYFLY_API const char *mayfly_identity_fact_name(
	const struct mayfly_identity *identity, size_t index);

/* What the fact at INDEX of IDENTITY says.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Fact. */
MAYFLY_API const char *mayfly_identity_fact_value(
	const struct mayfly_identity *identity, size_t index);

/* True if the kernel has proved the fact at INDEX of IDENTITY; false if the engine claims it.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Fact. */
MAYFLY_API bool mayfly_identity_fact_is_proved(
	const struct mayfly_identity *identity, size_t index);

/* Frees IDENTITY; NULL is accepted.
 * Does not block. Errors: none.
 * Source: this header. */
MAYFLY_API void mayfly_identity_free(struct mayfly_identity *identity);

#ifdef __cplusplus
}
#endif
