/* What an attacker in a container runs: opens files in every way that the kernel has, floods, holds
 * and passes descriptors. Static, for images that hold nothing else. Each thing that it tried is
 * one line: "WAY: what it read", or "WAY: why not". usage() says how to call it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDLE_BYTES 128

static void say(const char *way, const char *text)
{
	printf("%s: %s\n", way, text);
	fflush(stdout);
}

/* Reads what FD has, from its beginning, and says it. FD: a descriptor, or the errno of why there
 * is none, negative. */
static void say_content(const char *way, int fd)
{
	char text[4096];
	const ssize_t length = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);

	if (length < 0) {
		say(way, strerrorname_np(fd < 0 ? -fd : errno));
		return;
	}
	text[length] = '\0';
	/* Placeholders hold zeros. */
	say(way, length == 0 ? "(empty)" : text[0] == '\0' ? "(zeros)" : text);
	close(fd);
}

static void say_opened(const char *way, int fd)
{
	say_content(way, fd < 0 ? -errno : fd);
}

static void wait_for_file(const char *path)
{
	while (access(path, F_OK) != 0)
		usleep(5000);
}

static int open_again(int held, int flags)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", held);
	return open(path, flags);
}

/* ---- io_uring, without its library ---- */

struct ring {
	int fd;
	struct io_uring_params params;
	char *submissions, *completions;
	struct io_uring_sqe *entries;
};

static bool ring_make(struct ring *ring, unsigned flags)
{
	*ring = (struct ring){ .params.flags = flags, .params.sq_thread_idle = 1000 };
	ring->fd = (int)syscall(SYS_io_uring_setup, 4, &ring->params);
	if (ring->fd < 0)
		return false;
	ring->submissions = mmap(NULL, ring->params.sq_off.array + 4 * sizeof(unsigned),
		PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->completions = mmap(NULL, ring->params.cq_off.cqes + 8 * sizeof(struct io_uring_cqe),
		PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_CQ_RING);
	ring->entries = mmap(NULL, 4 * sizeof *ring->entries, PROT_READ | PROT_WRITE, MAP_SHARED,
		ring->fd, IORING_OFF_SQES);
	return true;
}

static int ring_open(struct ring *ring, int directory, const char *name, unsigned char entry_flags)
{
	unsigned *tail = (void *)(ring->submissions + ring->params.sq_off.tail);
	unsigned *array = (void *)(ring->submissions + ring->params.sq_off.array);
	unsigned *done = (void *)(ring->completions + ring->params.cq_off.tail);
	const struct io_uring_cqe *results = (void *)(ring->completions + ring->params.cq_off.cqes);
	const bool polls = ring->params.flags & IORING_SETUP_SQPOLL;

	ring->entries[0] = (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT,
		.flags = entry_flags,
		.fd = directory,
		.addr = (uintptr_t)name,
		.open_flags = O_RDONLY };
	array[0] = 0;
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	(void)syscall(SYS_io_uring_enter, ring->fd, polls ? 0 : 1, 1,
		IORING_ENTER_GETEVENTS | (polls ? IORING_ENTER_SQ_WAKEUP : 0), NULL, 0);
	while (__atomic_load_n(done, __ATOMIC_ACQUIRE) == 0)
		usleep(1000);
	return results[0].res;
}

static void try_ring(
	const char *way, unsigned flags, int directory, const char *name, unsigned char entry_flags)
{
	struct ring ring;

	if (!ring_make(&ring, flags)) {
		say(way, strerrorname_np(errno));
		return;
	}
	say_content(way, ring_open(&ring, directory, name, entry_flags));
	close(ring.fd);
}

/* ---- every way to open a file ---- */

/* What is taken hold of while the delivery is armed: none of it is an open, so nobody is asked. */
struct held {
	int file, directory;
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + HANDLE_BYTES];
	};
	bool has_handle;
};

static void take_hold(struct held *held, const char *directory, const char *name)
{
	int mount_id;

	held->directory = open(directory, O_PATH | O_DIRECTORY);
	held->file = openat(held->directory, name, O_PATH);
	held->handle.handle_bytes = HANDLE_BYTES;
	held->has_handle =
		name_to_handle_at(held->file, "", &held->handle, &mount_id, AT_EMPTY_PATH) == 0;
	printf("held: %s\n", held->file >= 0 ? "yes" : strerrorname_np(errno));
	fflush(stdout);
}

static void try_handle(const struct held *held)
{
	const int mount = open_again(held->directory, O_RDONLY | O_DIRECTORY);

	if (!held->has_handle || mount < 0)
		say("open_by_handle_at", "no handle");
	else
		say_opened("open_by_handle_at",
			open_by_handle_at(
				mount, (struct file_handle *)(uintptr_t)&held->handle, O_RDONLY));
	close(mount);
}

/* A child that shares everything with us: whose open is it? */
static void try_vfork(const char *path)
{
	static volatile int opened;
	const pid_t child = vfork();

	if (child == 0) {
		opened = open(path, O_RDONLY);
		if (opened >= 0) {
			static char text[256];
			const ssize_t length = read(opened, text, sizeof text - 1);

			(void)!write(1, "vfork: ", 7);
			(void)!write(1, text, length > 0 ? (size_t)length : 0);
			(void)!write(1, "\n", 1);
		}
		_exit(0);
	}
	(void)waitpid(child, NULL, 0);
	if (opened < 0)
		say("vfork", "refused");
}

static void try_clone_of_mount(const struct held *held, const char *name)
{
	const int clone =
		(int)syscall(SYS_open_tree, held->directory, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);

	say_opened("open_tree clone", clone < 0 ? -1 : openat(clone, name, O_RDONLY));
	close(clone);
}

static void try_bind(const char *directory, const char *name)
{
	char path[256];

	mkdir("/tmp/bound", 0700);
	if (mount(directory, "/tmp/bound", NULL, MS_BIND, NULL) != 0) {
		say("bind", strerrorname_np(errno));
		return;
	}
	snprintf(path, sizeof path, "/tmp/bound/%s", name);
	say_opened("bind", open(path, O_RDONLY));
}

static void try_overlay(const char *directory, const char *name)
{
	char options[512], path[256];

	mkdir("/tmp/over", 0700);
	mkdir("/tmp/empty", 0700);
	snprintf(options, sizeof options, "lowerdir=%s:/tmp/empty", directory);
	if (mount("overlay", "/tmp/over", "overlay", 0, options) != 0) {
		say("overlay", strerrorname_np(errno));
		return;
	}
	snprintf(path, sizeof path, "/tmp/over/%s", name);
	say_opened("overlay", open(path, O_RDONLY));
}

static int ways(const char *directory, const char *name, const char *go)
{
	const struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT };
	struct held held = { .file = -1 };
	char path[4096];

	take_hold(&held, directory, name);
	snprintf(path, sizeof path, "%s/%s", directory, name);
	say_opened("armed", open(path, O_RDONLY));
	wait_for_file(go);
	say_opened("open", open(path, O_RDONLY));
	say_opened("open for writing", open(path, O_RDWR));
	say_opened("openat", openat(held.directory, name, O_RDONLY));
	say_opened("openat2", (int)syscall(SYS_openat2, held.directory, name, &how, sizeof how));
	say_opened("O_PATH opened again", open_again(held.file, O_RDONLY));
	say_opened("O_PATH opened again for writing", open_again(held.file, O_RDWR));
	try_handle(&held);
	try_ring("io_uring", 0, held.directory, name, 0);
	try_ring("io_uring, by a worker", 0, held.directory, name, IOSQE_ASYNC);
	try_ring("io_uring, by its own thread", IORING_SETUP_SQPOLL, held.directory, name, 0);
	try_vfork(path);
	try_clone_of_mount(&held, name);
	try_bind(directory, name);
	try_overlay(directory, name);
	say("truncate", truncate(path, 0) == 0 ? "done" : strerrorname_np(errno));
	say("done", "yes");
	return 0;
}

/* ---- floods ---- */

static const char *flooded;
static int counts[2];

static void *open_once(void *unused)
{
	const int fd = open(flooded, O_RDONLY);

	__atomic_add_fetch(&counts[fd >= 0], 1, __ATOMIC_RELAXED);
	if (fd >= 0)
		say_content("flood", fd);
	return unused;
}

static int flood(int count, const char *path)
{
	pthread_t *threads = calloc((size_t)count, sizeof *threads);
	pthread_attr_t small;
	int made = 0;

	flooded = path;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	while (made < count && pthread_create(&threads[made], &small, open_once, NULL) == 0)
		made++;
	printf("waiting: %d\n", made);
	fflush(stdout);
	for (int i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
	printf("refused: %d, opened: %d\n", counts[0], counts[1]);
	return 0;
}

static int late(const char *path, const char *go)
{
	int fd;

	say("late", "opening");
	fd = open(path, O_RDONLY);
	say("opened", fd >= 0 ? "yes" : strerrorname_np(errno));
	wait_for_file(go);
	say_content("late", fd < 0 ? -EBADF : fd);
	return 0;
}

/* ---- descriptors that outlive the container ---- */

static int socket_at(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int give(const char *path, const char *file)
{
	struct sockaddr_un address;
	const int listening = socket_at(path, &address), given = open(file, O_RDONLY);
	char control[CMSG_SPACE(sizeof given)] __attribute__((aligned(8))) = { 0 }, byte = 'x';
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int taker;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof given);
	memcpy(CMSG_DATA(header), &given, sizeof given);
	if (given < 0 || bind(listening, (void *)&address, sizeof address) != 0 ||
		listen(listening, 1) != 0 || (taker = accept(listening, NULL, NULL)) < 0 ||
		sendmsg(taker, &message, 0) != 1) {
		say("give", strerrorname_np(errno));
		return 1;
	}
	say("give", "given");
	pause();
	return 0;
}

static sigjmp_buf gone;

static void on_bus_error(int number)
{
	siglongjmp(gone, number);
}

static void say_mapping(const char *mapping)
{
	char text[128] = "(gone)";

	signal(SIGBUS, on_bus_error);
	if (sigsetjmp(gone, 1) == 0)
		snprintf(text, sizeof text, "%.100s", mapping[0] ? mapping : "(zeros)");
	say("mapping", text);
}

static int take(const char *path, const char *go)
{
	struct sockaddr_un address;
	const int connected = socket_at(path, &address);
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control };
	const char *mapping;
	int taken;

	while (connect(connected, (void *)&address, sizeof address) != 0)
		usleep(5000);
	if (recvmsg(connected, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) {
		say("take", "nothing came");
		return 1;
	}
	memcpy(&taken, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof taken);
	mapping = mmap(NULL, 4096, PROT_READ, MAP_SHARED, taken, 0);
	say("take", mapping == MAP_FAILED ? strerrorname_np(errno) : "taken");
	wait_for_file(go);
	say_content("descriptor", taken);
	say_mapping(mapping);
	return 0;
}

/* ---- what CAP_SYS_ADMIN can do to a tmpfs of its own container ---- */

static int stall(const char *directory)
{
	const int group = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);

	if (group < 0 || fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
				 FAN_OPEN_PERM | FAN_ONDIR, AT_FDCWD, directory) != 0) {
		say("stall", strerrorname_np(errno));
		return 1;
	}
	say("stall", "marked");
	pause();
	return 0;
}

static _Noreturn void write_again_and_again(const char *path)
{
	for (;;) {
		const int fd = open(path, O_RDWR);

		if (fd >= 0 && pwrite(fd, "forged", 6, 0) == 6)
			say("write", "forged");
		close(fd);
	}
}

/* ---- our sockets ---- */

/* Sends TEXT and a NUL, which ends a varlink call and which HTTP does not look at; says the answer.
 */
static int say_to(const char *path, const char *text)
{
	struct sockaddr_un address;
	const int connected = socket_at(path, &address);
	char answer[4096];
	ssize_t length = -1;

	if (connect(connected, (void *)&address, sizeof address) == 0 &&
		write(connected, text, strlen(text) + 1) > 0)
		length = read(connected, answer, sizeof answer - 1);
	if (length >= 0)
		answer[length] = '\0';
	say("answer", length < 0 ? strerrorname_np(errno) : answer);
	return 0;
}

static int usage(void)
{
	(void)fputs(
		"intruder ways DIRECTORY NAME GO\n"
		"    takes hold of DIRECTORY/NAME; once the file GO exists, opens it in every way\n"
		"intruder flood COUNT PATH GO once GO exists, COUNT threads open PATH at once\n"
		"intruder late PATH GO        opens PATH; once GO exists, reads it\n"
		"intruder give SOCKET PATH    opens PATH and passes it to whoever connects to "
		"SOCKET\n"
		"intruder take SOCKET GO      takes it and maps it; once GO exists, reads both\n"
		"intruder write PATH          opens PATH for writing, again and again\n"
		"intruder stall DIRECTORY     asks for permission events there, and answers none\n",
		stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (argc == 5 && strcmp(what, "ways") == 0)
		return ways(argv[2], argv[3], argv[4]);
	if (argc == 5 && strcmp(what, "flood") == 0) {
		wait_for_file(argv[4]);
		return flood(atoi(argv[2]), argv[3]);
	}
	if (argc == 4 && strcmp(what, "late") == 0)
		return late(argv[2], argv[3]);
	if (argc == 4 && strcmp(what, "say") == 0)
		return say_to(argv[2], argv[3]);
	if (argc == 4 && strcmp(what, "give") == 0)
		return give(argv[2], argv[3]);
	if (argc == 4 && strcmp(what, "take") == 0)
		return take(argv[2], argv[3]);
	if (argc == 3 && strcmp(what, "write") == 0)
		write_again_and_again(argv[2]);
	if (argc == 3 && strcmp(what, "stall") == 0)
		return stall(argv[2]);
	return usage();
}
