#include "daemon/broker/store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

int value_check(const struct secret *value, struct mayfly_error *err)
{
	if (value->length < 1)
		return error_set(err, -EINVAL, "a value has at least one byte");
	if (value->length > MAYFLY_VALUE_MAX_BYTES)
		return error_set(err, -EFBIG, "a value of %zu bytes is longer than the limit of %d",
			value->length, MAYFLY_VALUE_MAX_BYTES);
	return 0;
}

int find_live(const struct vault *vault, const struct secret_reference *reference,
	struct head *head, struct mayfly_error *err)
{
	const int r = head_find(vault, reference, head, err);

	if (r == 0 && head->row.is_removed)
		return error_set(err, -ENOENT, "%s/%s was removed: undelete brings it back",
			reference->set, reference->name);
	return r;
}

static struct version *version_numbered(struct head *head, uint32_t number)
{
	for (uint32_t i = 0; i < head->version_count; i++)
		if (head->versions[i].number == number)
			return &head->versions[i];
	return NULL;
}

static struct version *version_before(struct head *head, uint32_t number)
{
	struct version *before = NULL;

	for (uint32_t i = 0; i < head->version_count; i++)
		if (head->versions[i].number < number && head->versions[i].number != head->prepared)
			before = &head->versions[i];
	return before;
}

int choose_version(
	struct head *head, uint32_t wanted, struct version **ret_version, struct mayfly_error *err)
{
	struct version *version = wanted == VERSION_CURRENT ? version_numbered(head, head->current)
				  : wanted == VERSION_PREVIOUS ? version_before(head, head->current)
				  : wanted == VERSION_PREPARED
					  ? version_numbered(head, head->prepared)
					  : version_numbered(head, wanted);

	if (version) {
		*ret_version = version;
		return 0;
	}
	if (wanted >= VERSION_PREPARED)
		return error_set(err, -ENOENT, "%s/%s has no %s version", head->row.set, head->name,
			wanted == VERSION_PREVIOUS   ? "previous"
			: wanted == VERSION_PREPARED ? "prepared"
						     : "current");
	if (wanted > 0 && wanted < head->next)
		return error_set(err, -ENOENT, "version %u of %s/%s was destroyed", wanted,
			head->row.set, head->name);
	return error_set(err, -ENOENT, "%s/%s has no version %u: its newest is %u", head->row.set,
		head->name, wanted, head->current);
}

int store_get(struct store *store, const struct secret_reference *reference, uint32_t version,
	struct secret *ret_value, uint32_t *ret_version, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct version *chosen;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = find_live(&vault, reference, head, err);
	if (r < 0)
		return r;
	r = choose_version(head, version, &chosen, err);
	if (r < 0)
		return r;
	r = value_open(&vault, head, chosen, ret_value, err);
	if (r == 0 && ret_version)
		*ret_version = chosen->number;
	return r;
}

int destroy_oldest(const struct vault *vault, struct ledger *ledger, struct head *head,
	uint32_t keep, uint32_t *ret_destroyed, struct mayfly_error *err)
{
	uint32_t too_many = head->version_count > keep ? head->version_count - keep : 0;
	uint32_t kept = 0;

	*ret_destroyed = 0;
	for (uint32_t i = 0; i < head->version_count; i++) {
		struct version *version = &head->versions[i];

		if (too_many == 0 || version->number == head->prepared ||
			(version->number == head->current && keep > 0)) {
			head->versions[kept++] = *version;
			continue;
		}
		const int r = value_delete(vault, head, version, err);

		if (r < 0)
			return r;
		too_many--;
		++*ret_destroyed;
	}
	head->version_count = kept;
	ledger->values -= *ret_destroyed;
	return 0;
}

void version_make(struct version *version, uint32_t number, size_t bytes, int64_t created_unix_s)
{
	version->number = number;
	version->bytes = (uint32_t)bytes;
	version->created_unix_s = created_unix_s;
	randombytes_buf(version->key, sizeof version->key);
}

int append_version(const struct vault *vault, struct ledger *ledger, struct head *head,
	const struct secret *value, struct mayfly_error *err)
{
	struct version *version = &head->versions[head->version_count];

	assert(head->version_count < MAYFLY_VERSIONS_KEPT_MAX);
	if (head->next > VERSION_MAX)
		return error_set(err, -EOVERFLOW, "%s/%s has had %u versions: purge it",
			head->row.set, head->name, head->next - 1);
	head->version_count++;
	version_make(version, head->next++, value->length, now_unix_s());
	head->current = version->number;
	head->changed_unix_s = version->created_unix_s;
	ledger->values++;
	return value_insert(vault, head, version, value, err);
}

int head_start(const struct vault *vault, struct ledger *ledger,
	const struct secret_reference *reference, struct head *head, struct mayfly_error *err)
{
	if (ledger->heads >= SECRETS_MAX)
		return error_set(err, -EDQUOT, "a store holds at most %d secrets", SECRETS_MAX);
	if (ledger->next_head_id > (uint64_t)HEAD_ID_MAX)
		return error_set(err, -EOVERFLOW,
			"this store has had %llu secrets and cannot number more",
			(unsigned long long)ledger->next_head_id - 1);
	memset(head, 0, sizeof *head);
	head->row.id = (int64_t)ledger->next_head_id++;
	memcpy(head->row.set, reference->set, sizeof head->row.set);
	memcpy(head->name, reference->name, sizeof head->name);
	head_token(vault->keys, reference, head->row.token);
	head->next = 1;
	head->keep = MAYFLY_VERSIONS_KEPT_DEFAULT;
	return 0;
}

/* Writes VALUE as HEAD's newest version, in one transaction. */
static int put_version(const struct vault *vault, const struct secret_reference *reference,
	bool is_new, struct head *head, const struct secret *value, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	struct ledger ledger;
	uint32_t destroyed;
	int r;

	r = db_begin(vault->db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(vault, &ledger, err);
	if (r < 0)
		return r;
	if (is_new) {
		r = head_start(vault, &ledger, reference, head, err);
		if (r < 0)
			return r;
	}
	r = destroy_oldest(vault, &ledger, head, head->keep - 1, &destroyed, err);
	if (r < 0)
		return r;
	r = append_version(vault, &ledger, head, value, err);
	if (r < 0)
		return r;
	r = (is_new ? head_insert : head_update)(vault, &ledger, head, err);
	if (r < 0)
		return r;
	r = ledger_save(vault, &ledger, err);
	if (r < 0)
		return r;
	r = db_commit(&open, err);
	if (r == 0 && destroyed > 0)
		db_forget_deleted(vault->db);
	return r;
}

/* Whether VALUE is what HEAD's current version holds. */
static int is_current_value(const struct vault *vault, struct head *head,
	const struct secret *value, bool *ret_same, struct mayfly_error *err)
{
	AUTO_SECRET present = { 0 };
	struct version *version;
	int r;

	r = choose_version(head, VERSION_CURRENT, &version, err);
	if (r < 0)
		return r;
	r = value_open(vault, head, version, &present, err);
	if (r < 0)
		return r;
	*ret_same = secret_equal(&present, value);
	return 0;
}

/* What putting VALUE on HEAD, which is there, comes to. */
static int decide_put(const struct vault *vault, struct head *head, const struct secret *value,
	bool stage, enum put_outcome *ret_outcome, struct mayfly_error *err)
{
	bool is_same = false;
	int r;

	if (head->row.is_removed)
		return error_set(err, -EEXIST,
			"%s/%s was removed and is kept: undelete it or purge it first",
			head->row.set, head->name);
	r = is_current_value(vault, head, value, &is_same, err);
	/* Staging another value heals a secret whose current one is damaged. */
	if (r < 0 && !(r == -EBADMSG && stage))
		return r;
	if (!is_same && !stage)
		return error_set(
			err, -EEXIST, "%s/%s has another value already", head->row.set, head->name);
	*ret_outcome = is_same ? PUT_UNCHANGED : PUT_STAGED;
	return 0;
}

int store_put(struct store *store, const struct secret_reference *reference,
	const struct secret *value, bool stage, enum put_outcome *ret_outcome,
	uint32_t *ret_version, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	enum put_outcome outcome = PUT_CREATED;
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = value_check(value, err);
	if (r < 0)
		return r;
	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = head_find(&vault, reference, head, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0) {
		r = decide_put(&vault, head, value, stage, &outcome, err);
		if (r < 0)
			return r;
	}
	if (outcome != PUT_UNCHANGED) {
		r = put_version(&vault, reference, outcome == PUT_CREATED, head, value, err);
		if (r < 0)
			return r;
	}
	*ret_outcome = outcome;
	*ret_version = head->current;
	return 0;
}

/* Writes HEAD as it is, in one transaction. */
static int save_head(const struct vault *vault, struct head *head, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	struct ledger ledger;
	int r;

	r = db_begin(vault->db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(vault, &ledger, err);
	if (r < 0)
		return r;
	r = head_update(vault, &ledger, head, err);
	if (r < 0)
		return r;
	r = ledger_save(vault, &ledger, err);
	if (r < 0)
		return r;
	return db_commit(&open, err);
}

static int hide(const struct vault *vault, struct head *head, struct mayfly_error *err)
{
	if (head->row.is_removed)
		return error_set(err, -ENOENT,
			"%s/%s was removed already: purge destroys its versions", head->row.set,
			head->name);
	head->row.is_removed = true;
	head->removed_unix_s = now_unix_s();
	return save_head(vault, head, err);
}

/* Destroys the secret of ROW. VERSIONS is how many its head counts, or NULL when the head does not
 * open: then the columns say what there is to delete, and should they be damaged too, the ledger
 * does not fit any more and store_verify() says so. */
static int purge(const struct vault *vault, const struct head_row *row, const uint32_t *versions,
	uint32_t *ret_versions, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	struct ledger ledger;
	uint64_t values;
	int r;

	r = db_begin(vault->db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(vault, &ledger, err);
	if (r < 0)
		return r;
	r = value_delete_all(vault, row, &values, err);
	if (r < 0)
		return r;
	if (versions)
		values = *versions;
	ledger.values -= values;
	r = head_delete(vault, &ledger, row, err);
	if (r < 0)
		return r;
	r = ledger_save(vault, &ledger, err);
	if (r < 0)
		return r;
	r = db_commit(&open, err);
	if (r < 0)
		return r;
	db_forget_deleted(vault->db);
	*ret_versions = (uint32_t)values;
	return 0;
}

int store_remove(struct store *store, const struct secret_reference *reference, bool purge_it,
	uint32_t *ret_versions, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = head_find(&vault, reference, head, err);
	if (purge_it && (r == 0 || r == -EBADMSG))
		return purge(&vault, &head->row, r == 0 ? &head->version_count : NULL, ret_versions,
			err);
	if (r < 0)
		return r;
	r = hide(&vault, head, err);
	if (r == 0)
		*ret_versions = head->version_count;
	return r;
}

int store_undelete(struct store *store, const struct secret_reference *reference,
	uint32_t *ret_current, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = head_find(&vault, reference, head, err);
	if (r < 0)
		return r;
	if (!head->row.is_removed)
		return error_set(
			err, -EEXIST, "%s/%s was not removed", reference->set, reference->name);
	head->row.is_removed = false;
	head->removed_unix_s = 0;
	r = save_head(&vault, head, err);
	if (r == 0)
		*ret_current = head->current;
	return r;
}

static int keep_at_most(const struct vault *vault, struct head *head, uint32_t keep,
	uint32_t *ret_destroyed, struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	struct ledger ledger;
	uint32_t destroyed;
	int r;

	r = db_begin(vault->db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(vault, &ledger, err);
	if (r < 0)
		return r;
	head->keep = keep;
	r = destroy_oldest(vault, &ledger, head, keep, &destroyed, err);
	if (r < 0)
		return r;
	r = head_update(vault, &ledger, head, err);
	if (r < 0)
		return r;
	r = ledger_save(vault, &ledger, err);
	if (r < 0)
		return r;
	r = db_commit(&open, err);
	if (r < 0)
		return r;
	if (destroyed > 0)
		db_forget_deleted(vault->db);
	*ret_destroyed = destroyed;
	return 0;
}

int store_keep(struct store *store, const struct secret_reference *reference, uint32_t keep,
	uint32_t *ret_destroyed, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	if (keep < 1 || keep > MAYFLY_VERSIONS_KEPT_MAX)
		return error_set(err, -EINVAL, "1 to %d versions can be kept, not %u",
			MAYFLY_VERSIONS_KEPT_MAX, keep);
	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = find_live(&vault, reference, head, err);
	if (r < 0)
		return r;
	return keep_at_most(&vault, head, keep, ret_destroyed, err);
}
