#include "daemon/mounter/guard_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fanotify.h>

#define IGNORE_OF_A_MOUNT (FAN_MARK_MOUNT | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY)

/* "." below the descriptor: an own mount is O_PATH, which fanotify_mark does not take itself. */
static int mark(int group, unsigned flags, uint64_t mask, int directory)
{
	return fanotify_mark(group, flags, mask, directory, ".") == 0 ? 0 : -errno;
}

static int ignore(int group, unsigned flags, int directory)
{
	return mark(group, flags | IGNORE_OF_A_MOUNT, FAN_OPEN_PERM, directory);
}

static int own_group(const struct mounter *mounter, const struct delivery *delivery)
{
	return mounter->groups[delivery->group];
}

static int shared_group(const struct mounter *mounter)
{
	return mounter->groups[mounter->groups_count - 1];
}

/* Closes of one armed delivery are few: they are told always, because it may not be known yet whether
 * somebody wants to know. */
static uint64_t events(const struct mounter *mounter, const struct delivery *delivery, int group)
{
	return FAN_OPEN_PERM |
	       (group != shared_group(mounter) || delivery->sees_closes ? FAN_CLOSE_NOWRITE : 0);
}

int guard_mark(const struct mounter *mounter, const struct delivery *delivery)
{
	const int group = own_group(mounter, delivery);
	int r = ignore(group, FAN_MARK_ADD, delivery->mount);

	if (r == 0)
		r = mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
			events(mounter, delivery, group), delivery->mount);
	return r;
}

/* It may have been exempt since an earlier release. */
static int target_take_back(int shared, int target)
{
	const int r = ignore(shared, FAN_MARK_REMOVE, target);

	return r == -ENOENT ? 0 : r;
}

int guard_retreat(const struct mounter *mounter, const struct delivery *delivery, bool free_target)
{
	const int shared = shared_group(mounter);
	const int group = own_group(mounter, delivery);
	int r = ignore(shared, FAN_MARK_ADD, delivery->mount);

	if (r == 0 && free_target)
		r = ignore(shared, FAN_MARK_ADD, delivery->target);
	else if (r == 0 && delivery->target >= 0)
		r = target_take_back(shared, delivery->target);
	if (r == 0)
		r = mark(shared, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
			events(mounter, delivery, shared), delivery->mount);
	if (r < 0 || group == shared)
		return r;
	/* Only now: there is no moment without a mark. What the group has in its queue stays the
	 * broker's to answer; the group is kept and read on, so nothing in it is ever allowed by a
	 * close. */
	r = mark(group, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, events(mounter, delivery, group),
		delivery->mount);
	if (r == 0)
		r = ignore(group, FAN_MARK_REMOVE, delivery->mount);
	return r;
}

int guard_probe(int group, int mount)
{
	const int r = mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, mount);

	return r < 0 ? r : mark(group, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, mount);
}
