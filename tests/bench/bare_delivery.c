/* The least that a delivery can cost: a tmpfs with five files of an owner, marked, attached, by the
 * bare system calls, and beside it one append with fdatasync. What Mount is compared with.
 * bare_delivery DIRECTORY ROUNDS [PID]: prints a line a round: microseconds of the delivery and of the
 * append. DIRECTORY is on the disk that is asked about. With PID the files have content and the tmpfs is
 * attached at /run/bare of that process's mount namespace, by a child that enters it. With `wipe` in its
 * place: makes ROUNDS of them with content, sealed, then prints the microseconds in which all are
 * overwritten, truncated, emptied and given up, one after the other. Needs root. */
#include "daemon/mounter/delivery_files.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES	     5
#define RECORD_BYTES 700 /* of a mount's audit record */

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int must(int result, const char *what)
{
	if (result >= 0)
		return result;
	(void)fprintf(stderr, "%s: %d\n", what, result);
	exit(EXIT_FAILURE);
}

static int make_tmpfs(void)
{
	AUTO_FD context = must(fs_open("tmpfs"), "fsopen");

	must(fs_set_string(context, "size", "34603008"), "size");
	must(fs_set_string(context, "nr_inodes", "1024"), "nr_inodes");
	must(fs_set_string(context, "mode", "0755"), "mode");
	must(fs_set_flag(context, "noswap"), "noswap");
	must(fs_create(context), "create");
	return must(fs_mount(context, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
		"fsmount");
}

static void make_files(int own, bool has_content)
{
	static const char value[32] = "a value of thirty-two bytes....";

	for (int i = 0; i < FILES; i++) {
		char name[16];
		AUTO_FD file = -1;

		(void)snprintf(name, sizeof name, "secret-%d", i);
		file = must(open_beneath(own, name, O_WRONLY | O_CREAT | O_EXCL, 0600), "open");
		must(fallocate(file, 0, 0, 32), "fallocate");
		must(fchmod(file, 0400), "fchmod");
		must(fchown(file, 1000, 1000), "fchown");
		if (has_content)
			must((int)write(file, value, sizeof value), "write");
	}
}

static void deliver(int group, int place)
{
	AUTO_FD own = make_tmpfs();
	AUTO_FD clone = -1;

	make_files(own, false);
	must(fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, own, "."),
		"fanotify_mark");
	clone = must(mount_clone(own), "open_tree");
	must(mount_set_read_only(clone, true), "mount_setattr");
	must(mount_attach(clone, place), "move_mount");
}

static _Noreturn void attach_there(int clone, int pidfd)
{
	AUTO_FD place = -1;

	must(setns(pidfd, CLONE_NEWNS), "setns");
	if (mkdir("/run/bare", 0755) != 0)
		(void)umount2("/run/bare", MNT_DETACH);
	place = must(open("/run/bare", O_PATH | O_DIRECTORY | O_CLOEXEC), "open");
	must(mount_attach(clone, place), "move_mount");
	_exit(0);
}

static void deliver_inside(int pidfd)
{
	AUTO_FD own = make_tmpfs();
	AUTO_FD clone = -1;
	pid_t child;

	make_files(own, true);
	must(superblock_set_read_only(own, true), "seal");
	clone = must(mount_clone(own), "open_tree");
	must(mount_set_read_only(clone, true), "mount_setattr");
	child = fork();
	if (child == 0)
		attach_there(clone, pidfd);
	must(waitpid(child, NULL, 0), "waitpid");
}

static void measure_inside(pid_t pid, int rounds)
{
	AUTO_FD pidfd = must((int)syscall(SYS_pidfd_open, pid, 0), "pidfd_open");

	for (; rounds > 0; rounds--) {
		const double begun = now_us();

		deliver_inside(pidfd);
		printf("%.1f 0\n", now_us() - begun);
	}
}

static void measure_wiping(int count)
{
	const struct rlimit descriptors = { (rlim_t)count + 100, (rlim_t)count + 100 };
	int *list = calloc((size_t)count, sizeof *list);
	double begun;

	must(list ? setrlimit(RLIMIT_NOFILE, &descriptors) : -1, "setrlimit");
	for (int i = 0; i < count; i++) {
		list[i] = make_tmpfs();
		make_files(list[i], true);
		must(superblock_set_read_only(list[i], true), "seal");
	}
	begun = now_us();
	for (int i = 0; i < count; i++) {
		must(superblock_set_read_only(list[i], false), "unseal");
		must(delivery_wipe(list[i]), "wipe");
		must(close(list[i]), "close");
	}
	printf("%.1f\n", now_us() - begun);
	free(list);
}

int main(int argc, char **argv)
{
	static const char record[RECORD_BYTES];
	const int rounds = argc >= 3 ? atoi(argv[2]) : 0;
	char log_path[4096], place_path[4096];
	AUTO_FD group = must(fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_MARKS |
						   FAN_REPORT_PIDFD,
				     O_RDONLY),
		"fanotify_init");
	AUTO_FD log = -1;

	if (rounds <= 0)
		return 2;
	if (argc == 4 && strcmp(argv[3], "wipe") == 0) {
		measure_wiping(rounds);
		return EXIT_SUCCESS;
	}
	if (argc == 4) {
		measure_inside(atoi(argv[3]), rounds);
		return EXIT_SUCCESS;
	}
	(void)snprintf(log_path, sizeof log_path, "%s/log", argv[1]);
	(void)snprintf(place_path, sizeof place_path, "%s/place", argv[1]);
	log = must(open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "open a log");
	must(mkdir(place_path, 0700), "mkdir");
	for (int i = 0; i < rounds; i++) {
		AUTO_FD place = must(open(place_path, O_PATH | O_DIRECTORY | O_CLOEXEC), "open");
		const double begun = now_us();
		double delivered, appended;

		deliver(group, place);
		delivered = now_us();
		must((int)write(log, record, sizeof record), "write");
		must(fdatasync(log), "fdatasync");
		appended = now_us();
		printf("%.1f %.1f\n", delivered - begun, appended - delivered);
		must(umount2(place_path, MNT_DETACH), "umount");
	}
	(void)rmdir(place_path);
	(void)unlink(log_path);
	return EXIT_SUCCESS;
}
