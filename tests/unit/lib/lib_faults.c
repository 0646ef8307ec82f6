/* Calls of libc that fail when this thread wants it: linked by --wrap. */
#include "lib_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

_Thread_local struct faults faults;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __real_recv(int fd, void *bytes, size_t room, int flags);
ssize_t __real_read(int fd, void *bytes, size_t room);
int __real_openat(int directory, const char *path, int flags, ...);
int __real_mlock(const void *bytes, size_t length);
int __real_munmap(void *bytes, size_t size);
int __real_clock_nanosleep(
	clockid_t clock, int flags, const struct timespec *time, struct timespec *left);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags);
ssize_t __wrap___recv_chk(int fd, void *bytes, size_t room, size_t size, int flags);
ssize_t __wrap_read(int fd, void *bytes, size_t room);
ssize_t __wrap___read_chk(int fd, void *bytes, size_t room, size_t size);
int __wrap_openat(int directory, const char *path, int flags, ...);
int __wrap_openat64(int directory, const char *path, int flags, ...);
int __wrap_mlock(const void *bytes, size_t length);
int __wrap_munmap(void *bytes, size_t size);
int __wrap_clock_nanosleep(
	clockid_t clock, int flags, const struct timespec *time, struct timespec *left);

static bool allocation_fails(void)
{
	if (faults.fail_allocation == 0 || --faults.fail_allocation > 0)
		return false;
	faults.is_failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return allocation_fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
	return allocation_fails() ? NULL : __real_strdup(text);
}

static bool is_interrupted(void)
{
	static _Thread_local bool every_other;

	every_other = faults.interrupts && !every_other;
	errno = EINTR;
	return every_other;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
	if (is_interrupted())
		return -1;
	return __real_send(fd, bytes, faults.one_byte && length > 1 ? 1 : length, flags);
}

ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags)
{
	if (is_interrupted())
		return -1;
	return __real_recv(fd, bytes, faults.one_byte && room > 1 ? 1 : room, flags);
}

ssize_t __wrap___recv_chk(int fd, void *bytes, size_t room, size_t size, int flags)
{
	(void)size;
	return __wrap_recv(fd, bytes, room, flags);
}

ssize_t __wrap_read(int fd, void *bytes, size_t room)
{
	if (is_interrupted())
		return -1;
	if (faults.on_read)
		faults.on_read();
	return __real_read(fd, bytes, faults.one_byte && room > 1 ? 1 : room);
}

ssize_t __wrap___read_chk(int fd, void *bytes, size_t room, size_t size)
{
	(void)size;
	return __wrap_read(fd, bytes, room);
}

/* Nothing that is tested makes a file, so there is no mode. */
int __wrap_openat(int directory, const char *path, int flags, ...)
{
	return is_interrupted() ? -1 : __real_openat(directory, path, flags);
}

int __wrap_openat64(int directory, const char *path, int flags, ...)
{
	return is_interrupted() ? -1 : __real_openat(directory, path, flags);
}

int __wrap_mlock(const void *bytes, size_t length)
{
	errno = ENOMEM;
	return faults.no_lock ? -1 : __real_mlock(bytes, length);
}

int __wrap_munmap(void *bytes, size_t size)
{
	if (faults.on_unmap)
		faults.on_unmap(bytes, size);
	return __real_munmap(bytes, size);
}

int __wrap_clock_nanosleep(
	clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
	if (!faults.on_sleep)
		return __real_clock_nanosleep(clock, flags, time, left);
	faults.on_sleep();
	return 0;
}
