/* What is looked after once the store is open: that nothing in it was changed behind our back, and
 * that the audit files are those it was made with. In the background; what is found stands in
 * `mayfly status`. */
#pragma once

#include "daemon/broker/request/broker.h"

/* After an unlock. Twice is fine: the second waits for the first. */
void upkeep_start(struct broker *broker);
