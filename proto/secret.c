#include "proto/secret.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* kernel 5.18 */
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

struct arena {
	unsigned char *base;
	size_t page_bytes;
	size_t page_count;
	size_t pages_used;
	size_t next; /* where the next search starts */
	pthread_mutex_t mutex;
	bool taken[]; /* one for each page */
};

static void arena_free_p(struct arena **arena)
{
	arena_free(*arena);
	*arena = NULL;
}

static int lock_pages(const struct arena *arena, size_t size_bytes, struct mayfly_error *err)
{
	struct rlimit limit = { 0 };
	int code;

	if (mlock2(arena->base, size_bytes, MLOCK_ONFAULT) == 0)
		return 0;
	code = -errno;
	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	return error_errno(err, code,
		"lock %zu KiB of memory for secrets (RLIMIT_MEMLOCK is %llu KiB; raise it or keep "
		"CAP_IPC_LOCK)",
		size_bytes / 1024, (unsigned long long)limit.rlim_cur / 1024);
}

int arena_new(size_t size_bytes, struct arena **ret_arena, struct mayfly_error *err)
{
	const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	const size_t page_count = size_bytes / page_bytes;
	MAYFLY_CLEANUP(arena_free_p)
	struct arena *arena = calloc(1, sizeof *arena + page_count * sizeof arena->taken[0]);
	int r;

	if (!arena)
		return error_errno(err, -ENOMEM, "make the arena for secrets");
	arena->page_bytes = page_bytes;
	arena->page_count = page_count;
	if (pthread_mutex_init(&arena->mutex, NULL) != 0)
		return error_errno(err, -ENOMEM, "make the arena's mutex");
	arena->base =
		mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena->base == MAP_FAILED) {
		arena->base = NULL;
		return error_errno(err, -errno, "map the arena for secrets");
	}
	r = lock_pages(arena, size_bytes, err);
	if (r < 0)
		return r;
	if (madvise(arena->base, size_bytes, MADV_DONTDUMP) != 0 ||
		madvise(arena->base, size_bytes, MADV_WIPEONFORK) != 0)
		return error_errno(err, -errno, "keep the arena out of core dumps and forks");
	*ret_arena = ptr_take(&arena);
	return 0;
}

void arena_wipe(struct arena *arena)
{
	for (size_t i = 0; i < arena->page_count; i++)
		if (arena->taken[i])
			sodium_memzero(arena->base + i * arena->page_bytes, arena->page_bytes);
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	if (arena->base) {
		arena_wipe(arena);
		(void)munmap(arena->base, arena->page_count * arena->page_bytes);
	}
	(void)pthread_mutex_destroy(&arena->mutex);
	free(arena);
}

size_t arena_used_bytes(struct arena *arena)
{
	size_t used;

	(void)pthread_mutex_lock(&arena->mutex);
	used = arena->pages_used * arena->page_bytes;
	(void)pthread_mutex_unlock(&arena->mutex);
	return used;
}

/* Finds PAGES free pages in [FROM, TO) and returns the first, or TO. */
static size_t find_run(const struct arena *arena, size_t from, size_t to, size_t pages)
{
	size_t run = 0;

	for (size_t i = from; i < to; i++) {
		run = arena->taken[i] ? 0 : run + 1;
		if (run == pages)
			return i + 1 - pages;
	}
	return to;
}

static unsigned char *take_pages(struct arena *arena, size_t pages)
{
	unsigned char *bytes = NULL;
	size_t first;

	(void)pthread_mutex_lock(&arena->mutex);
	first = find_run(arena, arena->next, arena->page_count, pages);
	if (first == arena->page_count)
		first = find_run(arena, 0, arena->page_count, pages);
	if (first < arena->page_count) {
		memset(arena->taken + first, true, pages);
		arena->pages_used += pages;
		arena->next = first + pages;
		bytes = arena->base + first * arena->page_bytes;
	}
	(void)pthread_mutex_unlock(&arena->mutex);
	return bytes;
}

static void return_pages(struct arena *arena, unsigned char *bytes, size_t pages)
{
	/* Wiped first: on a kernel that does not know the advice the pages simply stay. */
	sodium_memzero(bytes, pages * arena->page_bytes);
	(void)madvise(bytes, pages * arena->page_bytes, MADV_DONTNEED_LOCKED);

	(void)pthread_mutex_lock(&arena->mutex);
	memset(arena->taken + (size_t)(bytes - arena->base) / arena->page_bytes, false, pages);
	arena->pages_used -= pages;
	arena->next = 0;
	(void)pthread_mutex_unlock(&arena->mutex);
}

static size_t pages_for(const struct arena *arena, size_t length)
{
	return (length + arena->page_bytes - 1) / arena->page_bytes;
}

int secret_new(
	struct arena *arena, size_t length, struct secret *ret_secret, struct mayfly_error *err)
{
	unsigned char *bytes = NULL;

	if (length > arena->page_count * arena->page_bytes)
		return error_errno(err, -ENOMEM, "take %zu bytes of locked memory", length);
	if (length > 0) {
		bytes = take_pages(arena, pages_for(arena, length));
		if (!bytes)
			return error_errno(err, -ENOMEM, "take %zu bytes of locked memory", length);
	}
	*ret_secret = (struct secret){ .arena = arena, .bytes = bytes, .length = length };
	return 0;
}

void secret_done(struct secret *secret)
{
	if (secret->bytes)
		return_pages(
			secret->arena, secret->bytes, pages_for(secret->arena, secret->length));
	*secret = (struct secret){ 0 };
}

struct secret secret_take(struct secret *secret)
{
	const struct secret taken = *secret;

	*secret = (struct secret){ 0 };
	return taken;
}

void secret_shorten(struct secret *secret, size_t new_length)
{
	size_t pages, kept;

	if (new_length >= secret->length)
		return;
	pages = pages_for(secret->arena, secret->length);
	kept = pages_for(secret->arena, new_length);
	sodium_memzero(secret->bytes + new_length, secret->length - new_length);
	if (kept < pages)
		return_pages(secret->arena, secret->bytes + kept * secret->arena->page_bytes,
			pages - kept);
	secret->length = new_length;
	if (kept == 0)
		secret->bytes = NULL;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	if (a->length != b->length)
		return false;
	return a->length == 0 || sodium_memcmp(a->bytes, b->bytes, a->length) == 0;
}

int secret_read_memfd(struct arena *arena, int fd, size_t max_bytes, struct secret *ret_secret,
	struct mayfly_error *err)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_WRITE;
	const int seals = fcntl(fd, F_GET_SEALS);
	AUTO_SECRET value = { 0 };
	struct stat status;
	size_t done = 0;
	int r;

	if (seals < 0 || (seals & wanted) != wanted)
		return error_set(err, -EINVAL, "a value travels as a memfd sealed against writing");
	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at a passed descriptor");
	if ((uintmax_t)status.st_size > max_bytes)
		return error_set(err, -EFBIG, "%ju bytes are more than the limit of %zu",
			(uintmax_t)status.st_size, max_bytes);
	r = secret_new(arena, (size_t)status.st_size, &value, err);
	if (r < 0)
		return r;
	while (done < value.length) {
		const ssize_t n = pread(fd, value.bytes + done, value.length - done, (off_t)done);
		if (n <= 0)
			return error_errno(err, n < 0 ? -errno : -EIO, "read a passed descriptor");
		done += (size_t)n;
	}
	*ret_secret = secret_take(&value);
	return 0;
}
