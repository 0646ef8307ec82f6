/* What is delivered to a container already. Loop thread only; changes nothing. */
#pragma once

#include "daemon/broker/request/attestation.h"

struct container_presence {
	struct lease *covering;	 /* has every file of the plan */
	struct lease *at_target; /* is where the plan's files would come */
	bool is_busy;		 /* that one is being made, changed or ended */
};

/* Of the container WHO is in, for PLAN, which has at least one file and one target. */
struct container_presence container_presence(
	const struct broker *broker, const struct attested *who, const struct plan *plan);

/* LEASE is of the very run of the container that WHO is in. */
bool lease_is_of(const struct lease *lease, const struct attested *who);
