/* Fills a caller's struct mayfly_failure. Allocates nothing; a failure of NULL is accepted. */
#pragma once

#include "include/mayfly/status.h"

/* Sets FAILURE and returns STATUS. */
enum mayfly_status failure_set(struct mayfly_failure *failure, enum mayfly_status status,
	const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": " and what SYSTEM_ERROR, an errno, means behind the text. */
enum mayfly_status failure_errno(struct mayfly_failure *failure, enum mayfly_status status,
	int system_error, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Adds what to do; FAILURE must have been set. */
void failure_advise(struct mayfly_failure *failure, const char *advice);

/* Hands what INNER says to the caller's FAILURE. Returns its status. */
enum mayfly_status failure_pass(struct mayfly_failure *failure, const struct mayfly_failure *inner);

enum mayfly_status failure_no_memory(struct mayfly_failure *failure);
