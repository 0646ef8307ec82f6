#include "daemon/broker/request/upkeep.h"

#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct upkeep {
	struct work_item work;
	struct broker *broker;
	int store_result, audit_result;
	char finding[1200];
};

/* Long for a large store: every record is opened where it stands, and all are counted up. */
static void run(struct work_item *work)
{
	struct upkeep *upkeep = container_of(work, struct upkeep, work);
	AUTO_SECRET first_key = { 0 };
	struct mayfly_error err;
	uint64_t records;

	/* The first key is given out until `init` has sealed it: behind an open store there must be
	 * none. */
	upkeep->audit_result = audit_first_key(upkeep->broker->audit, &first_key, &err);
	upkeep->store_result = store_verify(upkeep->broker->store, &records, &err);
	if (upkeep->store_result < 0)
		(void)snprintf(upkeep->finding, sizeof upkeep->finding,
			"the store is not as it was left: %s", err.text);
}

static json_t *record_of(const char *finding)
{
	return json_pack("{s:s, s:s, s:s}", "action", "verify store", "decision", "refused",
		"reason", finding);
}

static void on_done(struct work_item *work, bool is_abandoned)
{
	struct upkeep *upkeep = container_of(work, struct upkeep, work);
	struct broker *broker = upkeep->broker;

	broker->is_in_upkeep = false;
	if (!is_abandoned && !broker->is_stopping) {
		if (upkeep->store_result == -EBADMSG || upkeep->store_result == -EUCLEAN) {
			broker_problem(broker, "store", upkeep->finding);
			broker_audit(broker, record_of(upkeep->finding));
		} else if (upkeep->store_result == 0) {
			broker_problem(broker, "store", NULL);
		}
		broker_problem(broker, "audit",
			upkeep->audit_result == 0 ? "the audit files are not those that this store "
						    "was made with: somebody has taken them away"
						  : NULL);
	}
	free(upkeep);
}

void upkeep_start(struct broker *broker)
{
	struct upkeep *upkeep;

	if (broker->is_in_upkeep || store_state(broker->store, NULL) != STORE_UNLOCKED)
		return;
	upkeep = calloc(1, sizeof *upkeep);
	if (!upkeep)
		return;
	*upkeep = (struct upkeep){ .work = { .run = run, .on_done = on_done }, .broker = broker };
	broker->is_in_upkeep = work_queue_start(broker->loop, &upkeep->work, NULL) == 0;
	if (!broker->is_in_upkeep)
		free(upkeep);
}
