#include "include/mayfly/status.h"

#include <stddef.h>

#define NAME(status) [status] = #status

const char *mayfly_status_name(enum mayfly_status status)
{
	static const char *const names[] = {
		NAME(MAYFLY_OK),
		NAME(MAYFLY_INVALID_ARGUMENT),
		NAME(MAYFLY_NO_MEMORY),
		NAME(MAYFLY_TIMED_OUT),
		NAME(MAYFLY_NOT_REACHABLE),
		NAME(MAYFLY_BAD_REPLY),
		NAME(MAYFLY_NOT_ATTESTED),
		NAME(MAYFLY_REFUSED),
		NAME(MAYFLY_NOT_YET),
		NAME(MAYFLY_NO_TARGET),
		NAME(MAYFLY_NOT_RELEASABLE),
		NAME(MAYFLY_TOO_MUCH),
		NAME(MAYFLY_FAILED),
		NAME(MAYFLY_NO_FILE),
		NAME(MAYFLY_NOT_READABLE),
		NAME(MAYFLY_ENDED),
		NAME(MAYFLY_NOT_LOCKED),
	};

	return (size_t)status < sizeof names / sizeof names[0] ? names[status] : "MAYFLY_?";
}
