/* Identities, made of replies. */
#pragma once

#include "client/lib/wire/reply.h"
#include "include/mayfly/identity.h"

/* Makes an identity of REPLY, whose contents it takes on success. MAYFLY_BAD_REPLY,
 * MAYFLY_NO_MEMORY. */
enum mayfly_status identity_read(
	struct reply *reply, struct mayfly_identity **ret_identity, struct mayfly_failure *failure);
