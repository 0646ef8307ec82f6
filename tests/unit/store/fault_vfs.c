#include "fault_vfs.h"

#include "unit_test.h"

#include <string.h>

struct fault_file {
	sqlite3_file base;
	struct fault_plan *plan;
	sqlite3_file *real; /* behind this struct */
};

static struct fault_file *fault_of(sqlite3_file *file)
{
	return (struct fault_file *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file)
{
	return fault_of(file)->real;
}

/* Whether this call fails: SQLITE_OK, or what it fails with. */
static int strikes(sqlite3_file *file, unsigned call, int error)
{
	struct fault_plan *plan = fault_of(file)->plan;

	if (!(plan->calls & call))
		return SQLITE_OK;
	plan->seen++;
	if (!plan->fails_at || plan->seen < plan->fails_at ||
		(plan->seen > plan->fails_at && !plan->stays))
		return SQLITE_OK;
	plan->has_failed = true;
	return plan->disk_full && call == FAULT_WRITES ? SQLITE_FULL : error;
}

static int fault_close(sqlite3_file *file)
{
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int fault_read(sqlite3_file *file, void *bytes, int length, sqlite3_int64 offset)
{
	const int r = strikes(file, FAULT_READS, SQLITE_IOERR_READ);

	return r ? r : real_of(file)->pMethods->xRead(real_of(file), bytes, length, offset);
}

static int fault_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset)
{
	const int r = strikes(file, FAULT_WRITES, SQLITE_IOERR_WRITE);

	/* Half of it reaches the disk, as it may. */
	if (r)
		(void)real_of(file)->pMethods->xWrite(real_of(file), bytes, length / 2, offset);
	return r ? r : real_of(file)->pMethods->xWrite(real_of(file), bytes, length, offset);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	const int r = strikes(file, FAULT_WRITES, SQLITE_IOERR_TRUNCATE);

	return r ? r : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
	const int r = strikes(file, FAULT_SYNCS, SQLITE_IOERR_FSYNC);

	return r ? r : real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int fault_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	return real_of(file)->pMethods->xFileSize(real_of(file), ret_size);
}

static int fault_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int fault_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int fault_check_lock(sqlite3_file *file, int *ret_is_locked)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret_is_locked);
}

static int fault_control(sqlite3_file *file, int what, void *argument)
{
	return real_of(file)->pMethods->xFileControl(real_of(file), what, argument);
}

static int fault_sector(sqlite3_file *file)
{
	return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int fault_characteristics(sqlite3_file *file)
{
	return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static const sqlite3_io_methods fault_methods = {
	.iVersion = 1,
	.xClose = fault_close,
	.xRead = fault_read,
	.xWrite = fault_write,
	.xTruncate = fault_truncate,
	.xSync = fault_sync,
	.xFileSize = fault_size,
	.xLock = fault_lock,
	.xUnlock = fault_unlock,
	.xCheckReservedLock = fault_check_lock,
	.xFileControl = fault_control,
	.xSectorSize = fault_sector,
	.xDeviceCharacteristics = fault_characteristics,
};

static int fault_open(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct fault_file *fault = fault_of(file);
	sqlite3_vfs *real = sqlite3_vfs_find("unix");
	int r;

	fault->base.pMethods = NULL;
	fault->plan = vfs->pAppData;
	fault->real = (sqlite3_file *)(void *)(fault + 1);
	memset(fault->real, 0, (size_t)real->szOsFile);
	r = real->xOpen(real, name, fault->real, flags, ret_flags);
	if (r == SQLITE_OK)
		fault->base.pMethods = &fault_methods;
	return r;
}

void fault_vfs_install(struct fault_plan *plan)
{
	const sqlite3_vfs *real = sqlite3_vfs_find("unix");
	sqlite3_vfs *vfs = calloc(1, sizeof *vfs);

	ck_assert_ptr_nonnull(vfs);
	*vfs = *real;
	vfs->pNext = NULL;
	vfs->zName = "faults";
	vfs->szOsFile = (int)sizeof(struct fault_file) + real->szOsFile;
	vfs->pAppData = plan;
	vfs->xOpen = fault_open;
	ck_assert_int_eq(sqlite3_vfs_register(vfs, 1), SQLITE_OK);
}
