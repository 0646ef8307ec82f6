/* What is delivered under one lease: names, versions and paths. Holds no value; does no I/O.
 * An index is a whole number below the count that belongs to it; a larger one is a mistake of the
 * caller that gives NULL or 0. */
#pragma once

#include <mayfly/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Does not change. Made by mayfly_request() and mayfly_watch_next(). */
struct mayfly_delivery;

/* The name of DELIVERY's lease, for mayfly_release().
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Delivery. */
MAYFLY_API const char *mayfly_delivery_lease(const struct mayfly_delivery *delivery);

/* The directory of DELIVERY in this container, absolute: for mayfly_generation_open().
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Delivery. */
MAYFLY_API const char *mayfly_delivery_target(const struct mayfly_delivery *delivery);

/* The number of DELIVERY's generation; it grows with each rotation.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Delivery. */
MAYFLY_API uint64_t mayfly_delivery_generation(const struct mayfly_delivery *delivery);

/* The hard end at which the files of DELIVERY are emptied, as RFC 3339 in UTC; NULL without one.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Delivery; RFC 3339. */
MAYFLY_API const char *mayfly_delivery_expires(const struct mayfly_delivery *delivery);

/* The same hard end of DELIVERY in seconds since 1970-01-01 UTC, leap seconds not counted,
 * fractions cut off; 0 without one. Does not block. Errors: none. Source: RFC 3339, POSIX "seconds
 * since the epoch". */
MAYFLY_API int64_t mayfly_delivery_expires_unix_s(const struct mayfly_delivery *delivery);

/* True if the call that returned DELIVERY has made it; false if it was there already, and for one
 * that a watch told of.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Request. */
MAYFLY_API bool mayfly_delivery_is_new(const struct mayfly_delivery *delivery);

/* How many files DELIVERY has.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Delivery. */
MAYFLY_API size_t mayfly_delivery_file_count(const struct mayfly_delivery *delivery);

/* The absolute path, in this container, of the file at INDEX of DELIVERY.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, File. */
MAYFLY_API const char *mayfly_delivery_file_path(
	const struct mayfly_delivery *delivery, size_t index);

/* How many secrets are in the file at INDEX of DELIVERY: 1, or as many as a template has.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, File. */
MAYFLY_API size_t mayfly_delivery_secret_count(
	const struct mayfly_delivery *delivery, size_t index);

/* The name, SET/NAME, of the secret at SECRET_INDEX in the file at INDEX of DELIVERY.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Secret. */
MAYFLY_API const char *mayfly_delivery_secret_name(
	const struct mayfly_delivery *delivery, size_t index, size_t secret_index);

/* The version of the secret at SECRET_INDEX in the file at INDEX of DELIVERY.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink, Secret. */
MAYFLY_API uint64_t mayfly_delivery_secret_version(
	const struct mayfly_delivery *delivery, size_t index, size_t secret_index);

/* Frees DELIVERY; NULL is accepted. The files stay: see mayfly_release().
 * Does not block. Errors: none.
 * Source: this header. */
MAYFLY_API void mayfly_delivery_free(struct mayfly_delivery *delivery);

#ifdef __cplusplus
}
#endif
