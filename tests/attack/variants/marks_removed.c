/* Naive control: the guard leaves at release, as if the host path were the only way to the files.
 */
#define guard_retreat checked_guard_retreat
#include "daemon/mounter/guard_marks.c"
#undef guard_retreat

int guard_retreat(const struct mounter *mounter, const struct delivery *delivery, bool free_target);

int guard_retreat(const struct mounter *mounter, const struct delivery *delivery, bool free_target)
{
	(void)free_target;
	return mark(own_group(mounter, delivery), FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM,
		events(mounter, delivery, own_group(mounter, delivery)), delivery->mount);
}
