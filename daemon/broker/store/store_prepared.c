#include "daemon/broker/store/store_prepared.h"

#include "daemon/broker/store/store_internal.h"

#include <errno.h>

/* Runs CHANGE_HEAD on the head of REFERENCE and writes it back, all in the open transaction. */
typedef int head_change(const struct vault *vault, struct ledger *ledger, struct head *head,
	void *data, struct mayfly_error *err);

static int change_one(const struct vault *vault, struct ledger *ledger,
	const struct secret_reference *reference, struct head *head, head_change *change,
	void *data, struct mayfly_error *err)
{
	int r = find_live(vault, reference, head, err);

	if (r == 0)
		r = change(vault, ledger, head, data, err);
	return r < 0 ? r : head_update(vault, ledger, head, err);
}

/* One transaction for all of COUNT references, STRIDE bytes apart; DATA is each one's own element. */
static int change_all(const struct vault *vault, struct head *head, void *elements, size_t count,
	size_t stride, head_change *change, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	struct ledger ledger;
	int r;

	r = db_begin(vault->db, &open, err);
	if (r == 0)
		r = ledger_load(vault, &ledger, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		/* Every kind of element begins with its reference. */
		void *element = (char *)elements + i * stride;

		r = change_one(vault, &ledger, element, head, change, element, err);
	}
	if (r == 0)
		r = ledger_save(vault, &ledger, err);
	if (r == 0)
		r = db_commit(&open, err);
	if (r == 0)
		db_forget_deleted(vault->db);
	return r;
}

/* --- prepare, discard --- */

struct preparation {
	struct secret_reference reference;
	const struct secret *value;
	struct secret previous; /* its bytes, when VALUE is NULL */
	bool is_unchanged;
	uint32_t version;
};

static int take_value(const struct vault *vault, struct head *head, struct preparation *wanted,
	struct mayfly_error *err)
{
	AUTO_SECRET present = { 0 };
	struct version *version;
	int r;

	if (!wanted->value) {
		r = choose_version(head, VERSION_PREVIOUS, &version, err);
		if (r == 0)
			r = value_open(vault, head, version, &wanted->previous, err);
		if (r < 0)
			return r;
		wanted->value = &wanted->previous;
	}
	r = choose_version(head, VERSION_CURRENT, &version, err);
	if (r == 0)
		r = value_open(vault, head, version, &present, err);
	/* A damaged current value is healed by any other. */
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	wanted->is_unchanged = secret_equal(&present, wanted->value);
	return 0;
}

static int prepare(const struct vault *vault, struct ledger *ledger, struct head *head, void *data,
	struct mayfly_error *err)
{
	struct preparation *wanted = data;
	const uint32_t current = head->current;
	const int64_t changed_unix_s = head->changed_unix_s;
	uint32_t destroyed;
	int r;

	if (head->prepared != 0)
		return error_set(err, -EALREADY,
			"version %u of %s/%s was prepared and waits: `mayfly rotate --resume` puts "
			"it "
			"into force, `mayfly rotate --discard` destroys it",
			head->prepared, head->row.set, head->name);
	r = take_value(vault, head, wanted, err);
	if (r < 0 || wanted->is_unchanged)
		return r;
	r = destroy_oldest(
		vault, ledger, head, head->keep > 1 ? head->keep - 1 : 1, &destroyed, err);
	if (r == 0)
		r = append_version(vault, ledger, head, wanted->value, err);
	if (r < 0)
		return r;
	head->prepared = head->current;
	head->current = current;
	head->changed_unix_s = changed_unix_s;
	wanted->version = head->prepared;
	return 0;
}

int store_prepare(struct store *store, const struct secret_reference *reference,
	const struct secret *value, enum put_outcome *ret_outcome, uint32_t *ret_version,
	struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	struct preparation wanted = { .reference = *reference, .value = value };
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r == 0 && value)
		r = value_check(value, err);
	if (r == 0)
		r = change_all(&vault, head, &wanted, 1, sizeof wanted, prepare, err);
	if (r == 0) {
		*ret_outcome = wanted.is_unchanged ? PUT_UNCHANGED : PUT_STAGED;
		*ret_version = wanted.is_unchanged ? head->current : wanted.version;
	}
	secret_done(&wanted.previous);
	return r;
}

static int nothing_prepared(const struct head *head, struct mayfly_error *err)
{
	return error_set(err, -ENOENT, "nothing is prepared for %s/%s", head->row.set, head->name);
}

/* Deletes the version numbered NUMBER. */
static int delete_version(const struct vault *vault, struct ledger *ledger, struct head *head,
	uint32_t number, struct mayfly_error *err)
{
	struct version *version;
	uint32_t kept = 0;
	int r;

	r = choose_version(head, number, &version, err);
	if (r == 0)
		r = value_delete(vault, head, version, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < head->version_count; i++)
		if (head->versions[i].number != number)
			head->versions[kept++] = head->versions[i];
	head->version_count = kept;
	ledger->values--;
	return 0;
}

static int discard(const struct vault *vault, struct ledger *ledger, struct head *head, void *data,
	struct mayfly_error *err)
{
	struct preparation *wanted = data;
	int r;

	if (head->prepared == 0)
		return nothing_prepared(head, err);
	wanted->version = head->prepared;
	r = delete_version(vault, ledger, head, head->prepared, err);
	head->prepared = 0;
	return r;
}

int store_discard(struct store *store, const struct secret_reference *reference,
	uint32_t *ret_version, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	struct preparation wanted = { .reference = *reference };
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r == 0)
		r = change_all(&vault, head, &wanted, 1, sizeof wanted, discard, err);
	if (r == 0)
		*ret_version = wanted.version;
	return r;
}

/* --- activate, restore --- */

/* The bytes of version NUMBER as a further version, which is current from now on. */
static int append_copy(const struct vault *vault, struct ledger *ledger, struct head *head,
	uint32_t number, struct mayfly_error *err)
{
	AUTO_SECRET value = { 0 };
	struct version *version;
	uint32_t destroyed;
	int r;

	r = choose_version(head, number, &version, err);
	if (r == 0)
		r = value_open(vault, head, version, &value, err);
	if (r == 0)
		r = destroy_oldest(
			vault, ledger, head, head->keep > 1 ? head->keep - 1 : 1, &destroyed, err);
	return r < 0 ? r : append_version(vault, ledger, head, &value, err);
}

static int activate(const struct vault *vault, struct ledger *ledger, struct head *head, void *data,
	struct mayfly_error *err)
{
	struct store_change *change = data;
	const uint32_t prepared = head->prepared;
	int r = 0;

	if (prepared == 0)
		return nothing_prepared(head, err);
	change->before = head->current;
	if (prepared > head->current) {
		head->current = prepared;
		head->changed_unix_s = now_unix_s();
	} else {
		/* Something else has been put into force meanwhile: versions are in the order in which
		 * they counted. */
		r = append_copy(vault, ledger, head, prepared, err);
		if (r == 0)
			r = delete_version(vault, ledger, head, prepared, err);
	}
	head->prepared = 0;
	change->after = head->current;
	return r;
}

static int restore(const struct vault *vault, struct ledger *ledger, struct head *head, void *data,
	struct mayfly_error *err)
{
	struct store_change *change = data;
	int r;

	if (change->after != head->current)
		return error_set(err, -EALREADY,
			"%s/%s has been changed since: its current version is %u, not %u",
			head->row.set, head->name, head->current, change->after);
	r = append_copy(vault, ledger, head, change->before, err);
	if (r == 0) {
		change->before = change->after;
		change->after = head->current;
	}
	return r;
}

static int change_several(struct store *store, struct store_change *changes, size_t count,
	head_change *change, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	return r < 0 ? r : change_all(&vault, head, changes, count, sizeof changes[0], change, err);
}

int store_activate(
	struct store *store, struct store_change *changes, size_t count, struct mayfly_error *err)
{
	return change_several(store, changes, count, activate, err);
}

int store_restore(
	struct store *store, struct store_change *changes, size_t count, struct mayfly_error *err)
{
	return change_several(store, changes, count, restore, err);
}
