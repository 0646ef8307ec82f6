#include "client/cli/value/value.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The newest kernels ask for this to keep a memfd from being executed; older ones refuse it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

static int memfd_new(const char *name, int *ret_fd, struct mayfly_error *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return error_errno(err, -errno, "make a memory file");
	*ret_fd = fd;
	return 0;
}

int value_write(int fd, const struct secret *value, bool with_newline, struct mayfly_error *err)
{
	size_t written = 0;

	while (written < value->length) {
		const ssize_t n = write(fd, value->bytes + written, value->length - written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "write");
		written += (size_t)n;
	}
	if (with_newline && write(fd, "\n", 1) != 1)
		return error_errno(err, errno ? -errno : -EIO, "write");
	return 0;
}

int sealed_value_new(
	const struct secret *value, struct sealed_value *ret_sealed, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value sealed = SEALED_VALUE_EMPTY;
	int r = memfd_new("mayfly-value", &sealed.fd, err);

	if (r < 0)
		return r;
	sealed.length = value->length;
	if (ftruncate(sealed.fd, (off_t)value->length) != 0)
		return error_errno(err, -errno, "size a memory file");
	/* A private mapping that is only read maps the file's own pages, and a locked page is not
	 * swapped; a shared one would be in the way of F_SEAL_WRITE before kernel 6.7. */
	sealed.locked = mmap(NULL, value->length, PROT_READ, MAP_PRIVATE, sealed.fd, 0);
	if (sealed.locked == MAP_FAILED) {
		sealed.locked = NULL;
		return error_errno(err, -errno, "map a memory file");
	}
	if (mlock(sealed.locked, value->length) != 0)
		return error_errno(
			err, -errno, "lock %zu bytes of memory (see `ulimit -l`)", value->length);
	r = value_write(sealed.fd, value, false, err);
	if (r < 0)
		return error_within(err, "fill a memory file");
	/* Safe against a receiver's time of check: nobody can change it from here on. */
	if (fcntl(sealed.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
		return error_errno(err, -errno, "seal a memory file");
	*ret_sealed = sealed;
	sealed = SEALED_VALUE_EMPTY;
	return 0;
}

void sealed_value_done(struct sealed_value *sealed)
{
	if (sealed->locked)
		/* Pages that cannot be unmapped end with the process. */
		(void)munmap(sealed->locked, sealed->length);
	fd_close_p(&sealed->fd);
	*sealed = SEALED_VALUE_EMPTY;
}

int receiving_memfd_new(int *ret_fd, struct mayfly_error *err)
{
	return memfd_new("mayfly-answer", ret_fd, err);
}

int receiving_memfd_read(struct cli *cli, int fd, size_t max_bytes, struct secret *ret_value,
	struct mayfly_error *err)
{
	AUTO_SECRET value = { 0 };
	struct arena *arena;
	struct stat status;
	int r = cli_arena(cli, &arena, err);

	if (r < 0)
		return r;
	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at the answer");
	if (status.st_size <= 0 || (size_t)status.st_size > max_bytes)
		return error_set(
			err, -EBADMSG, "the broker wrote %lld bytes", (long long)status.st_size);
	r = secret_new(arena, (size_t)status.st_size, &value, err);
	if (r < 0)
		return r;
	if (pread(fd, value.bytes, value.length, 0) != (ssize_t)value.length)
		return error_set(err, -EIO, "read the answer: it is cut");
	*ret_value = secret_take(&value);
	return 0;
}
