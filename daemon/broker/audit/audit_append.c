#include "daemon/broker/audit/audit_state.h"

#include "daemon/broker/audit/audit_record.h"
#include "proto/boot_clock.h"
#include "proto/cleanup.h"

#include <sodium.h>
#include <string.h>

void audit_publish_head(struct audit *audit)
{
	(void)pthread_mutex_lock(&audit->publishing);
	audit->published = audit->head;
	(void)pthread_mutex_unlock(&audit->publishing);
}

/* A failed ratchet may have left the next key in the file already: a record with the present one
 * would not be taken up again. So nothing is written until it has succeeded; it makes the same key
 * each time. */
int audit_ratchet(struct audit *audit, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_key_done) struct audit_key next = { 0 };
	int r;

	audit->must_ratchet = true;
	r = audit_key_next(&audit->key, &audit->head, &next, err);
	if (r == 0)
		r = audit_key_store(&next, audit->directory, AUDIT_KEY_FILE, err);
	if (r < 0) {
		(void)error_within(err, "go to the chain's next key");
		return r;
	}
	audit_key_done(&audit->key);
	audit->key = audit_key_take(&next);
	audit->epoch_records = 0;
	audit->epoch_start_ms = boot_clock_ms();
	audit->must_ratchet = false;
	return 0;
}

static bool is_ratchet_due(const struct audit *audit, size_t count)
{
	if (audit->must_ratchet)
		return true;
	if (audit->epoch_records == 0)
		return false;
	return audit->epoch_records + count > audit->epoch_max_records ||
	       boot_clock_ms() - audit->epoch_start_ms >= audit->epoch_max_ms;
}

static int write_batch(
	struct audit *audit, json_t *const *records, size_t count, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_batch_done) struct audit_batch batch = { 0 };
	struct audit_head head = audit->head;
	struct audit_stamp stamp;
	int r = 0;

	audit_stamp_make(&stamp, audit->boot, audit->key.epoch);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = audit_batch_add(&batch, &stamp, &audit->key.key, records[i], &head, err);
	if (r == 0)
		r = audit_file_prepare(&audit->file, audit->head.seq + 1, batch.length,
			audit->segment_max_bytes, err);
	if (r == 0)
		r = audit_file_append(&audit->file, batch.bytes, batch.length, err);
	if (r < 0)
		return r;
	audit->head = head;
	audit->epoch_records += count;
	audit_publish_head(audit);
	return 0;
}

int audit_append(
	struct audit *audit, json_t *const *records, size_t count, struct mayfly_error *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&audit->writing);
	if (is_ratchet_due(audit, count))
		r = audit_ratchet(audit, err);
	if (r == 0 && count > 0)
		r = write_batch(audit, records, count, err);
	(void)pthread_mutex_unlock(&audit->writing);
	return r;
}

void audit_head(struct audit *audit, uint64_t *ret_seq, char ret_mac[65])
{
	struct audit_head head;

	(void)pthread_mutex_lock(&audit->publishing);
	head = audit->published;
	(void)pthread_mutex_unlock(&audit->publishing);
	*ret_seq = head.seq;
	(void)sodium_bin2hex(ret_mac, AUDIT_MAC_HEX + 1, head.mac, sizeof head.mac);
}

/* With the writing mutex held. */
static int look(struct audit *audit, struct audit_view *ret_view, struct audit_head *ret_head,
	struct audit_key *ret_key, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_view_done) struct audit_view view = AUDIT_VIEW_EMPTY;
	int r;

	r = audit_view_make(audit->directory, audit->file.fd, audit->file.size, &view, err);
	/* Who takes the key wants to prove the records, so nothing may hide behind their end. */
	if (r == 0 && ret_key && audit->file.fd >= 0 && !audit->file.has_rest)
		r = audit_file_check(&audit->file, err);
	if (r == 0 && ret_key)
		r = audit_key_copy(&audit->key, ret_key, err);
	if (r < 0)
		return r;
	if (audit->file.fd >= 0)
		view.segments[view.count - 1].first_seq = audit->file.first_seq;
	*ret_head = audit->head;
	*ret_view = view;
	view = (struct audit_view)AUDIT_VIEW_EMPTY;
	return 0;
}

int audit_look(struct audit *audit, struct audit_view *ret_view, struct audit_head *ret_head,
	struct audit_key *ret_key, struct mayfly_error *err)
{
	int r;

	(void)pthread_mutex_lock(&audit->writing);
	r = look(audit, ret_view, ret_head, ret_key, err);
	(void)pthread_mutex_unlock(&audit->writing);
	return r;
}
