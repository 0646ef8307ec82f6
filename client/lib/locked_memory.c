#include "client/lib/locked_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int locked_memory_map(size_t size, struct locked_memory *ret_memory, int *ret_lock_error)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t whole = (size + page - 1) / page * page;
	void *bytes = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return -errno;
	*ret_lock_error = 0;
	/* Before the first byte is written: a page that was never touched has never been swapped.
	 */
	if (mlock(bytes, whole) != 0 || madvise(bytes, whole, MADV_DONTDUMP) != 0)
		*ret_lock_error = errno;
	*ret_memory = (struct locked_memory){
		.bytes = bytes, .size = whole, .is_locked = *ret_lock_error == 0
	};
	return 0;
}

void locked_memory_done(struct locked_memory *memory)
{
	if (memory->bytes) {
		explicit_bzero(memory->bytes, memory->size);
		/* Cannot fail for what mmap() has given; it unlocks, too. */
		(void)munmap(memory->bytes, memory->size);
	}
	*memory = (struct locked_memory){ 0 };
}
