#include "daemon/broker/policy/policy_build.h"

#include "daemon/broker/policy/policy_match.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAIR_COMPLAINTS_MAX 100

/* A name that an entry takes in a delivery: its file's, or that of a directory above it. */
struct claim {
	char *path; /* owned */
	bool is_directory;
	const struct policy_entry *entry;
};

/* All claims of one grant, sorted by path, files first. The marks are sets of hashed paths: where
 * they have nothing in common no path is equal, which spares most comparisons. */
struct claims {
	struct claim *items;
	size_t count;
	uint64_t files_mark, all_mark;
};

static void claims_done(struct claims *claims)
{
	for (size_t i = 0; i < claims->count; i++)
		free(claims->items[i].path);
	free(claims->items);
	*claims = (struct claims){ 0 };
}

static uint64_t mark_of(const char *path)
{
	uint64_t hash = 14695981039346656037ULL; /* FNV-1a */

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 1099511628211ULL;
	return 1ULL << (hash >> 58);
}

static int add_claim(struct claims *claims, const char *path, size_t length, bool is_directory,
	const struct policy_entry *entry)
{
	AUTO_FREE char *copied = strndup(path, length);
	struct claim *grown = reallocarray(claims->items, claims->count + 1, sizeof *grown);

	if (grown)
		claims->items = grown;
	if (!copied || !grown)
		return -ENOMEM;
	claims->all_mark |= mark_of(copied);
	if (!is_directory)
		claims->files_mark |= mark_of(copied);
	grown[claims->count++] = (struct claim){
		.path = ptr_take(&copied), .is_directory = is_directory, .entry = entry
	};
	return 0;
}

static int claim_file(struct claims *claims, const struct policy_entry *entry, bool previous)
{
	char path[MAYFLY_FILE_PATH_SIZE];
	int r;

	entry_file_path(entry, previous, path);
	r = add_claim(claims, path, strlen(path), false, entry);
	for (const char *slash = strchr(path, '/'); r == 0 && slash; slash = strchr(slash + 1, '/'))
		r = add_claim(claims, path, (size_t)(slash - path), true, entry);
	return r;
}

static int compare_claims(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;
	const int order = strcmp(a->path, b->path);

	if (order != 0)
		return order;
	if (a->is_directory != b->is_directory)
		return a->is_directory - b->is_directory;
	return (a->entry > b->entry) - (a->entry < b->entry);
}

static int claims_init(struct claims *claims, const struct policy_grant *grant)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < grant->entries_count; i++) {
		const struct policy_entry *entry = &grant->entries[i];

		if (entry->current)
			r = claim_file(claims, entry, false);
		if (r == 0 && entry->previous)
			r = claim_file(claims, entry, true);
	}
	if (claims->count > 0)
		qsort(claims->items, claims->count, sizeof *claims->items, compare_claims);
	return r;
}

static bool conflict(const struct claim *a, const struct claim *b)
{
	return !(a->is_directory && b->is_directory) && strcmp(a->path, b->path) == 0;
}

static void check_within(struct policy_build *build, size_t index, const struct claims *claims)
{
	const struct policy_grant *grant = &build->policy->grants[index];

	for (size_t i = 1; i < claims->count; i++) {
		const struct claim *a = &claims->items[i - 1], *b = &claims->items[i];
		const unsigned line =
			a->entry->line > b->entry->line ? a->entry->line : b->entry->line;

		/* Files sort first, so of equal paths at least one neighbour shows it. */
		if (!conflict(a, b))
			continue;
		if (b->is_directory)
			complaint_add(build->complaints, build->files[index], line, NULL,
				"grant %s gives '%s' both as a file and as a directory",
				grant->name, a->path);
		else
			complaint_add(build->complaints, build->files[index], line, NULL,
				"grant %s gives the file '%s' twice", grant->name, a->path);
	}
}

static void complain_of_pair(struct policy_build *build, size_t earlier, size_t later,
	const struct claim *of_earlier, const struct claim *of_later)
{
	const struct policy_grant *a = &build->policy->grants[earlier];
	const struct policy_grant *b = &build->policy->grants[later];
	const bool both_files = !of_earlier->is_directory && !of_later->is_directory;

	complaint_add(build->complaints, build->files[later], of_later->entry->line, NULL,
		"grants %s and %s (%s:%u) can match one container, and %s '%s'; give one another "
		"`as`, or let their matches exclude each other",
		b->name, a->name, build->files[earlier], of_earlier->entry->line,
		both_files ? "both give the file"
			   : "one has a file where the other has a directory,",
		of_later->path);
}

/* Both lists are sorted: equal paths are met by walking them together. A path stands more than once
 * in a list only as a directory, which needs no more than one complaint. */
static void check_pair(
	struct policy_build *build, size_t earlier, size_t later, const struct claims *claims)
{
	const struct claims *a = &claims[earlier], *b = &claims[later];

	for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
		const int order = strcmp(a->items[i].path, b->items[k].path);

		if (order == 0 && conflict(&a->items[i], &b->items[k]))
			complain_of_pair(build, earlier, later, &a->items[i], &b->items[k]);
		i += order <= 0;
		k += order >= 0;
	}
}

static bool may_share_a_path(const struct claims *a, const struct claims *b)
{
	return (a->files_mark & b->all_mark) || (a->all_mark & b->files_mark);
}

/* A thousand grants of one match have half a million pairs: a few of them make the point. */
static void check_pairs(struct policy_build *build, const struct claims *claims)
{
	const struct policy *policy = build->policy;
	const size_t most = build->complaints->count + PAIR_COMPLAINTS_MAX;

	for (size_t later = 0; later < policy->grants_count; later++) {
		for (size_t earlier = 0; earlier < later; earlier++) {
			if (build->complaints->count >= most)
				return;
			if (may_share_a_path(&claims[earlier], &claims[later]) &&
				!grants_exclude(&policy->grants[earlier], &policy->grants[later]))
				check_pair(build, earlier, later, claims);
		}
	}
}

int overlap_check(struct policy_build *build)
{
	const size_t count = build->policy->grants_count;
	struct claims *claims = calloc(count + 1, sizeof *claims);
	int r = claims ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = claims_init(&claims[i], &build->policy->grants[i]);
	for (size_t i = 0; r == 0 && i < count; i++)
		check_within(build, i, &claims[i]);
	if (r == 0)
		check_pairs(build, claims);
	for (size_t i = 0; claims && i < count; i++)
		claims_done(&claims[i]);
	free(claims);
	return r;
}
