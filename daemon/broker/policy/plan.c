#include "daemon/broker/policy/plan_build.h"

#include "daemon/broker/policy/policy_build.h"
#include "daemon/broker/policy/posture.h"
#include "proto/cleanup.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 160

/* One plan in the making. */
struct planning {
	const struct matched_grants *grants;
	const struct policy_question *question;
	struct trail *trail;
	struct plan plan;
};

/* A file's owner as the container sees it. */
struct owner {
	uint32_t uid, gid;
	mode_t mode;
};

static const char *show(char buffer[SHOWN_MAX], const char *text)
{
	return error_quote(buffer, SHOWN_MAX, text, strlen(text));
}

/* ---- Which files. ---- */

static size_t files_count(const struct matched_grants *grants)
{
	size_t count = 0;

	for (size_t i = 0; i < grants->count; i++)
		for (size_t k = 0; k < grants->items[i]->entries_count; k++)
			count += (size_t)grants->items[i]->entries[k].current +
				 grants->items[i]->entries[k].previous;
	return count;
}

static void add_file(struct plan *plan, const struct policy_grant *grant,
	const struct policy_entry *entry, bool previous)
{
	struct plan_file *file = &plan->files[plan->files_count++];

	*file = (struct plan_file){ .grant = grant, .entry = entry, .previous = previous };
	entry_file_path(entry, previous, file->path);
}

static void add_grant_files(struct plan *plan, const struct policy_grant *grant)
{
	for (size_t i = 0; i < grant->entries_count; i++) {
		const struct policy_entry *entry = &grant->entries[i];

		if (entry->current)
			add_file(plan, grant, entry, false);
		if (entry->previous)
			add_file(plan, grant, entry, true);
	}
}

static int all_files(struct planning *planning, struct mayfly_error *err)
{
	const struct matched_grants *grants = planning->grants;
	struct plan *plan = &planning->plan;

	plan->files = calloc(files_count(grants) + 1, sizeof *plan->files);
	if (!plan->files)
		return error_errno(err, -ENOMEM, "plan the files of %s", grants->who);
	for (size_t i = 0; i < grants->count; i++)
		add_grant_files(plan, grants->items[i]);
	return 0;
}

static const struct plan_file *find_file(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->files_count; i++)
		if (strcmp(plan->files[i].path, path) == 0)
			return &plan->files[i];
	return NULL;
}

static int refuse_unknown_file(
	const struct planning *planning, const char *path, struct mayfly_error *err)
{
	const struct plan *plan = &planning->plan;
	AUTO_FREE const char **paths = calloc(plan->files_count + 1, sizeof *paths);
	const char *nearest = NULL;

	/* Without memory only the hint is missing. */
	for (size_t i = 0; paths && i < plan->files_count; i++)
		paths[i] = plan->files[i].path;
	if (paths)
		nearest = nearest_word(path, paths, plan->files_count);
	return error_set(err, -EPERM,
		"the volume's option `files` names '%s', which no grant gives to %s%s%s%s", path,
		planning->grants->who, nearest ? "; did you mean '" : "", nearest ? nearest : "",
		nearest ? "'?" : "");
}

/* Only the files that the volume's options choose, by the names that they give. */
static int chosen_files(struct planning *planning, struct mayfly_error *err)
{
	const struct volume_options *options = planning->question->options;
	AUTO_FREE struct plan_file *chosen = calloc(options->files_count, sizeof *chosen);

	if (!chosen)
		return error_errno(err, -ENOMEM, "plan the files of %s", planning->grants->who);
	for (size_t i = 0; i < options->files_count; i++) {
		const struct file_choice *choice = &options->files[i];
		const struct plan_file *file = find_file(&planning->plan, choice->path);

		if (!file)
			return refuse_unknown_file(planning, choice->path, err);
		chosen[i] = *file;
		memcpy(chosen[i].path, choice->new_path, sizeof chosen[i].path);
	}
	free(planning->plan.files);
	planning->plan.files = ptr_take(&chosen);
	planning->plan.files_count = options->files_count;
	return 0;
}

static bool is_below(const char *path, const char *directory)
{
	const size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 && path[length] == '/';
}

/* The policy is free of conflicts when it is loaded; new names can make some, and what lies on
 * a container's disk rests on there being none. */
static int check_paths(const struct planning *planning, struct mayfly_error *err)
{
	const struct plan *plan = &planning->plan;

	if (plan->files_count > MAYFLY_DELIVERY_MAX_FILES)
		return error_set(err, -EPERM,
			"the grants of %s give %zu files, at most %d fit in a delivery; narrow the "
			"volume with its option `grant` or `files`",
			planning->grants->who, plan->files_count, MAYFLY_DELIVERY_MAX_FILES);
	for (size_t i = 0; i < plan->files_count; i++) {
		for (size_t k = 0; k < i; k++) {
			const char *a = plan->files[i].path, *b = plan->files[k].path;

			if (strcmp(a, b) == 0)
				return error_set(err, -EPERM,
					"the volume's option `files` gives two files the name '%s'",
					a);
			if (is_below(a, b) || is_below(b, a))
				return error_set(err, -EPERM,
					"the volume's option `files` makes a directory of a file: "
					"'%s' and '%s'",
					a, b);
		}
	}
	return 0;
}

/* ---- Whose files. ---- */

/* What the volume's options say of the owner counts only where the grant says nothing, and can take
 * permissions away from what the grant says: they never widen it. */
static int check_choice(const struct policy_entry *entry, const struct file_choice *choice,
	struct mayfly_error *err)
{
	if (choice->has_uid && entry->has_uid && choice->uid != entry->uid)
		return error_set(err, -EPERM,
			"the volume's option `files` gives '%s' the uid %u, the grant says %u",
			choice->path, choice->uid, entry->uid);
	if (choice->has_gid && entry->has_gid && choice->gid != entry->gid)
		return error_set(err, -EPERM,
			"the volume's option `files` gives '%s' the gid %u, the grant says %u",
			choice->path, choice->gid, entry->gid);
	if (choice->has_mode && entry->has_mode && (choice->mode & ~entry->mode) != 0)
		return error_set(err, -EPERM,
			"the volume's option `files` gives '%s' the mode 0%03o, which is wider "
			"than 0%03o in the grant",
			choice->path, choice->mode, entry->mode);
	return 0;
}

static int refuse_unknown_user(const struct planning *planning, const struct plan_file *file,
	const char *missing, struct mayfly_error *err)
{
	const struct container_facts *facts = planning->question->facts;
	char user[SHOWN_MAX], why[SHOWN_MAX];

	return error_set(err, -EPERM,
		"grant %s: the user '%s' of %s is unknown (%s); give `%s` to '%s' in the grant",
		file->grant->name, show(user, facts->user_text), planning->grants->who,
		show(why, facts->user_error), missing, file->entry->path);
}

static int find_owner(const struct planning *planning, const struct plan_file *file,
	const struct file_choice *choice, struct owner *ret_owner, struct mayfly_error *err)
{
	const struct container_facts *facts = planning->question->facts;
	const struct policy_entry *entry = file->entry;
	const bool has_uid = entry->has_uid || choice->has_uid;
	const bool has_gid = entry->has_gid || choice->has_gid;
	struct owner owner = { .uid = facts->uid, .gid = facts->gid, .mode = entry->mode };

	if (choice->has_mode)
		owner.mode = choice->mode;
	if (has_uid)
		owner.uid = entry->has_uid ? entry->uid : choice->uid;
	if (has_gid)
		owner.gid = entry->has_gid ? entry->gid : choice->gid;
	if (facts->user_error && !has_uid)
		return refuse_unknown_user(planning, file, "uid", err);
	if (facts->user_error && !has_gid) {
		/* A group that nobody chose must not be one that may read. */
		if (owner.mode & 070)
			return refuse_unknown_user(planning, file, "gid", err);
		owner.gid = 0;
	}
	*ret_owner = owner;
	return 0;
}

/* INSIDE as a number of the host. False when the engine's user namespace has no such number. */
static bool to_host(uint32_t inside, uint32_t offset, uint32_t count, uint32_t *ret_host)
{
	const uint64_t host = (uint64_t)inside + offset;

	/* UINT32_MAX means "no id" to the kernel. */
	if (inside >= count || host >= UINT32_MAX)
		return false;
	*ret_host = (uint32_t)host;
	return true;
}

static int shift_owner(const struct planning *planning, struct plan_file *file,
	const struct owner *owner, struct mayfly_error *err)
{
	const struct container_facts *facts = planning->question->facts;

	if (!to_host(owner->uid, facts->uid_offset, facts->id_count, &file->uid) ||
		!to_host(owner->gid, facts->gid_offset, facts->id_count, &file->gid))
		return error_set(err, -EPERM,
			"grant %s: the owner %u:%u of '%s' is outside the engine's user namespace "
			"(%u ids)",
			file->grant->name, owner->uid, owner->gid, file->path, facts->id_count);
	file->mode = owner->mode;
	return 0;
}

static bool user_can_read(const struct container_facts *facts, const struct owner *owner)
{
	if (facts->uid == 0 && posture_root_reads_all(facts))
		return true;
	if (facts->uid == owner->uid)
		return owner->mode & 0400;
	if (facts->gid == owner->gid)
		return owner->mode & 040;
	return owner->mode & 04;
}

static void note_unreadable(
	const struct planning *planning, const struct plan_file *file, const struct owner *owner)
{
	const struct container_facts *facts = planning->question->facts;

	if (!facts->user_error && !user_can_read(facts, owner))
		trail_add(planning->trail, STEP_NOTED, "owner",
			"grant %s: the container's user %u:%u cannot read '%s' (owner %u:%u, mode "
			"0%03o), unless a further group of its may",
			file->grant->name, facts->uid, facts->gid, file->path, owner->uid,
			owner->gid, owner->mode);
}

static int give_owners(struct planning *planning, struct mayfly_error *err)
{
	static const struct file_choice nothing_chosen;
	const struct volume_options *options = planning->question->options;
	struct plan *plan = &planning->plan;

	for (size_t i = 0; i < plan->files_count; i++) {
		const bool chosen = options && options->files_count > 0;
		const struct file_choice *choice = chosen ? &options->files[i] : &nothing_chosen;
		struct plan_file *file = &plan->files[i];
		struct owner owner = { 0 };
		int r = check_choice(file->entry, choice, err);

		if (r == 0)
			r = find_owner(planning, file, choice, &owner, err);
		if (r == 0)
			r = shift_owner(planning, file, &owner, err);
		if (r < 0)
			return r;
		note_unreadable(planning, file, &owner);
	}
	return 0;
}

static void explain_user(const struct planning *planning)
{
	const struct container_facts *facts = planning->question->facts;
	char user[SHOWN_MAX], why[SHOWN_MAX];

	if (facts->user_error)
		trail_add(planning->trail, STEP_NOTED, "owner",
			"the container's user '%s' is unknown: %s", show(user, facts->user_text),
			show(why, facts->user_error));
	else
		trail_add(planning->trail, STEP_PASSED, "owner",
			"the container's user%s%s%s is %u:%u%s",
			facts->user_text[0] ? " '" : ", not named,", show(user, facts->user_text),
			facts->user_text[0] ? "'" : "", facts->uid, facts->gid,
			facts->uid == 0 ? "; a program that drops root before it reads needs `uid` "
					  "in the grant"
					: "");
}

/* ---- How they are delivered. ---- */

static bool shares_pid_namespace(const struct container_facts *facts)
{
	return facts->shares_pid_namespace || strcmp(facts->pid_mode, "host") == 0 ||
	       strncmp(facts->pid_mode, "container:", strlen("container:")) == 0;
}

/* How little a grant takes where the kernel cannot guard. What the default means there is decided
 * elsewhere; it is never more than `guard` and never less than `after-start`. */
static int strictness(enum grant_release release)
{
	switch (release) {
	case RELEASE_MOUNT:
		return 1;
	case RELEASE_AFTER_START:
		return 2;
	case RELEASE_DEFAULT:
		return 3;
	case RELEASE_GUARD:
		break;
	}
	return 4;
}

static void choose_delivery(struct planning *planning)
{
	const struct matched_grants *grants = planning->grants;
	struct plan *plan = &planning->plan;

	plan->release = grants->items[0]->release;
	for (size_t i = 0; i < grants->count; i++) {
		const struct policy_grant *grant = grants->items[i];

		if (grant->guard == GUARD_ALWAYS)
			plan->guard = GUARD_ALWAYS;
		if (grant->layout == LAYOUT_PLAIN)
			plan->layout = LAYOUT_PLAIN;
		if (strictness(grant->release) > strictness(plan->release))
			plan->release = grant->release;
	}
	if (shares_pid_namespace(planning->question->facts)) {
		plan->guard = GUARD_ALWAYS;
		trail_add(planning->trail, STEP_NOTED, "guard",
			"the container shares a pid namespace: every open is attested");
	}
}

static int fill_plan(struct planning *planning, struct mayfly_error *err)
{
	const struct volume_options *options = planning->question->options;
	int r = all_files(planning, err);

	if (r == 0 && options && options->files_count > 0)
		r = chosen_files(planning, err);
	if (r == 0)
		r = check_paths(planning, err);
	if (r < 0) {
		trail_add(planning->trail, STEP_FAILED, "files", "%s", err->text);
		return r;
	}
	explain_user(planning);
	r = give_owners(planning, err);
	if (r < 0) {
		trail_add(planning->trail, STEP_FAILED, "owner", "%s", err->text);
		return r;
	}
	choose_delivery(planning);
	return 0;
}

int plan_build(const struct matched_grants *grants, const struct policy_question *question,
	struct trail *trail, struct plan *ret_plan, struct mayfly_error *err)
{
	struct planning planning = { .grants = grants, .question = question, .trail = trail };
	int r = fill_plan(&planning, err);

	if (r < 0) {
		plan_done(&planning.plan);
		return r;
	}
	trail_add(trail, STEP_PASSED, "files", "%zu file%s for %s", planning.plan.files_count,
		planning.plan.files_count == 1 ? "" : "s", grants->who);
	planning.plan.policy = policy_ref(grants->policy);
	*ret_plan = planning.plan;
	return 0;
}

bool plan_file_is_called(const struct plan_file *file, const char *name)
{
	return strcmp(file->entry->name ? file->entry->name : file->path, name) == 0;
}

int plan_narrow(struct plan *plan, const char *const *names, size_t count, const char **ret_unknown)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		bool is_known = false;

		for (size_t k = 0; k < plan->files_count && !is_known; k++)
			is_known = plan_file_is_called(&plan->files[k], names[i]);
		if (!is_known) {
			*ret_unknown = names[i];
			return -ENOENT;
		}
	}
	for (size_t k = 0; k < plan->files_count; k++)
		for (size_t i = 0; i < count; i++)
			if (plan_file_is_called(&plan->files[k], names[i])) {
				plan->files[kept++] = plan->files[k];
				break;
			}
	plan->files_count = kept;
	return 0;
}

static bool files_equal(const struct plan_file *a, const struct plan_file *b)
{
	return a->entry == b->entry && a->previous == b->previous && a->uid == b->uid &&
	       a->gid == b->gid && a->mode == b->mode && strcmp(a->path, b->path) == 0;
}

bool plan_equal(const struct plan *a, const struct plan *b)
{
	if (a->policy != b->policy || a->files_count != b->files_count || a->guard != b->guard ||
		a->layout != b->layout || a->release != b->release)
		return false;
	for (size_t i = 0; i < a->files_count; i++)
		if (!files_equal(&a->files[i], &b->files[i]))
			return false;
	return true;
}

void plan_done(struct plan *plan)
{
	policy_unref(plan->policy);
	free(plan->files);
	*plan = (struct plan){ 0 };
}

json_t *plan_grant_names(const struct plan *plan)
{
	json_t *names = json_array();

	for (size_t i = 0; i < plan->files_count; i++) {
		const char *name = plan->files[i].grant->name;
		bool is_known = false;
		json_t *known;
		size_t j;

		json_array_foreach (names, j, known)
			is_known = is_known || strcmp(json_string_value(known), name) == 0;
		if (!is_known)
			(void)json_array_append_new(names, json_string(name));
	}
	return names;
}
