/* What a call of libmayfly came to: a name for programs, a text for people.
 * Never holds a value or a part of one. */
#pragma once

#include <stdint.h>

#if defined(__GNUC__)
#define MAYFLY_API __attribute__((visibility("default")))
#else
#define MAYFLY_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers are part of the ABI: names are added at the end only. */
enum mayfly_status {
	MAYFLY_OK = 0,
	MAYFLY_INVALID_ARGUMENT, /* the caller's mistake: nothing was tried */
	MAYFLY_NO_MEMORY,
	MAYFLY_TIMED_OUT,     /* connected, but no answer within the time that was given */
	MAYFLY_NOT_REACHABLE, /* there is no socket, or nobody behind it */
	MAYFLY_BAD_REPLY,     /* what came breaks the protocol */
	MAYFLY_NOT_ATTESTED,  /* the broker cannot tell which container asks; text: what failed */
	MAYFLY_REFUSED,	      /* policy or posture; text: in the words of `mayfly explain` */
	MAYFLY_NOT_YET,	      /* it may come later: locked store, missing secret, backend down */
	MAYFLY_NO_TARGET,     /* the files cannot be put there; advice: line for the compose file */
	MAYFLY_NOT_RELEASABLE,
	MAYFLY_TOO_MUCH,     /* this container asks too often; retry_after_ms: when it may again */
	MAYFLY_FAILED,	     /* the broker, or the system here, could not do it */
	MAYFLY_NO_FILE,	     /* no such file, or it has not come yet */
	MAYFLY_NOT_READABLE, /* the file may not be read by this process, or is none of a value */
	MAYFLY_ENDED,	     /* the file was emptied, or its generation has been replaced */
	MAYFLY_NOT_LOCKED,   /* memory cannot be locked; see MAYFLY_ALLOW_UNLOCKED */
};

/* Details of a call that did not return MAYFLY_OK. The caller's storage; every function that takes
 * one sets all of it when it fails, leaves it alone when it succeeds, and accepts NULL. */
struct mayfly_failure {
	enum mayfly_status status;
	int system_error;	 /* an errno, or 0 */
	uint32_t retry_after_ms; /* MAYFLY_TOO_MUCH; else 0 */
	char text[512];		 /* UTF-8: "what was tried: why" */
	char advice[256];	 /* what to do, or "" */
};

/* The name of STATUS as it stands in this header, "MAYFLY_REFUSED"; "MAYFLY_?" for a number that
 * has none. The string is constant and never freed.
 * Does not block. Errors: none.
 * Source: this header. */
MAYFLY_API const char *mayfly_status_name(enum mayfly_status status);

#ifdef __cplusplus
}
#endif
