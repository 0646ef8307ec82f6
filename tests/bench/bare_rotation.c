/* The least that a rotation can cost: COUNT tmpfs with five files each get a further generation by the
 * bare system calls, one after the other: writable, five files with content, one rename, the older ones
 * overwritten, read-only. bare_rotation COUNT ROUNDS: prints milliseconds a round. Needs root. */
#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 5

static const char value[32] = "a value of thirty-two bytes....";

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int must(int result, const char *what)
{
	if (result >= 0)
		return result;
	(void)fprintf(stderr, "%s: %d\n", what, result);
	exit(EXIT_FAILURE);
}

static void make_generation(int own, int number)
{
	char name[32];

	(void)snprintf(name, sizeof name, "..%d", number);
	must(mkdirat(own, name, 0755), "mkdir");
	for (int i = 0; i < FILES; i++) {
		AUTO_FD file = -1;

		(void)snprintf(name, sizeof name, "..%d/secret-%d", number, i);
		file = must(open_beneath(own, name, O_WRONLY | O_CREAT | O_EXCL, 0400), "open");
		must((int)write(file, value, sizeof value), "write");
	}
	(void)snprintf(name, sizeof name, "..%d", number);
	must(symlinkat(name, own, "..next"), "symlink");
	must(renameat(own, "..next", own, "..data"), "rename");
}

static void wipe_generation(int own, int number)
{
	static const char zeros[sizeof value];
	char name[32];

	for (int i = 0; i < FILES; i++) {
		AUTO_FD file = -1;

		(void)snprintf(name, sizeof name, "..%d/secret-%d", number, i);
		file = must(open_beneath(own, name, O_WRONLY, 0), "open");
		must((int)pwrite(file, zeros, sizeof zeros, 0), "write");
		must(ftruncate(file, 0), "truncate");
		must(unlinkat(own, name, 0), "unlink");
	}
	(void)snprintf(name, sizeof name, "..%d", number);
	must(unlinkat(own, name, AT_REMOVEDIR), "rmdir");
}

static int make_tmpfs(void)
{
	AUTO_FD context = must(fs_open("tmpfs"), "fsopen");
	int own;

	must(fs_set_string(context, "size", "34603008"), "size");
	must(fs_create(context), "create");
	own = must(fs_mount(context, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
		"fsmount");
	make_generation(own, 0);
	must(superblock_set_read_only(own, true), "seal");
	return own;
}

int main(int argc, char **argv)
{
	const int count = argc > 1 ? atoi(argv[1]) : 0, rounds = argc > 2 ? atoi(argv[2]) : 0;
	int *own = calloc((size_t)count + 1, sizeof *own);

	if (count < 1 || rounds < 1 || !own)
		return EXIT_FAILURE;
	for (int i = 0; i < count; i++)
		own[i] = make_tmpfs();
	for (int round = 1; round <= rounds; round++) {
		const double begun = now_ms();

		for (int i = 0; i < count; i++) {
			must(superblock_set_read_only(own[i], false), "unseal");
			make_generation(own[i], round);
			wipe_generation(own[i], round - 1);
			must(superblock_set_read_only(own[i], true), "seal");
		}
		(void)printf("%.3f\n", now_ms() - begun);
	}
	free(own);
	return EXIT_SUCCESS;
}
