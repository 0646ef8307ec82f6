#include "client/cli/rotation/apply.h"

#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "client/cli/value/value.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD_FD 3
#define NEW_FD 4

/* Keeps the pages of FD out of swap for as long as it is needed. */
static int lock_pages(int fd, void **ret_lock, size_t *ret_length, struct mayfly_error *err)
{
	struct stat status;
	void *pages;

	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at a value");
	pages = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (pages == MAP_FAILED)
		return error_errno(err, -errno, "map a value");
	if (mlock(pages, (size_t)status.st_size) != 0) {
		const int code = -errno;

		(void)munmap(pages, (size_t)status.st_size);
		return error_errno(err, code, "lock a value into memory");
	}
	*ret_lock = pages;
	*ret_length = (size_t)status.st_size;
	return 0;
}

static int fetch(struct cli *cli, struct applied *item, struct mayfly_error *err)
{
	int r = receiving_memfd_new(&item->before, err);

	if (r == 0)
		r = receiving_memfd_new(&item->after, err);
	if (r == 0) {
		const int fds[2] = { item->before, item->after };

		r = operator_call(cli,
			&(struct operator_call){ .method = "ReadPrepared",
				.parameters = json_made(json_pack("{s:s, s:i, s:i}", "name",
					item->name, "before_into_fd", 0, "after_into_fd", 1)),
				.fds = fds,
				.fds_count = 2 },
			NULL, err);
	}
	if (r == 0)
		r = lock_pages(item->before, &item->before_lock, &item->before_length, err);
	return r < 0 ? r : lock_pages(item->after, &item->after_lock, &item->after_length, err);
}

int apply_fetch(struct cli *cli, const char *command, const char *const *names, size_t count,
	struct apply *ret_apply, struct mayfly_error *err)
{
	struct apply apply = { .command = command,
		.items = calloc(count + 1, sizeof *apply.items) };
	int r = apply.items ? 0 : error_errno(err, -ENOMEM, "apply");

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct applied *item = &apply.items[apply.count++];

		*item = (struct applied){ .name = names[i], .before = -1, .after = -1 };
		r = fetch(cli, item, err);
	}
	if (r < 0)
		apply_done(&apply);
	else
		*ret_apply = apply;
	return r;
}

void apply_done(struct apply *apply)
{
	for (size_t i = 0; i < apply->count; i++) {
		struct applied *item = &apply->items[i];

		if (item->before_lock)
			(void)munmap(item->before_lock, item->before_length);
		if (item->after_lock)
			(void)munmap(item->after_lock, item->after_length);
		if (item->before >= 0)
			(void)close(item->before);
		if (item->after >= 0)
			(void)close(item->after);
	}
	free(apply->items);
	*apply = (struct apply){ 0 };
}

/* In the child: VALUE, read-only and from its beginning, as descriptor NUMBER. */
static void give(int value, int number)
{
	char path[40];
	int opened;

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", value);
	opened = open(path, O_RDONLY);
	if (opened < 0 || (opened != number && dup2(opened, number) < 0))
		_exit(127);
	if (opened != number)
		(void)close(opened);
}

static _Noreturn void run_in_child(
	const char *command, const char *name, int old_value, int new_value)
{
	/* Out of the way of the two numbers first. */
	const int old_high = fcntl(old_value, F_DUPFD_CLOEXEC, 10);
	const int new_high = fcntl(new_value, F_DUPFD_CLOEXEC, 10);

	give(old_high, OLD_FD);
	give(new_high, NEW_FD);
	if (setenv("MAYFLY_SECRET", name, 1) == 0)
		(void)execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(127);
}

static int run(const char *command, const char *name, int old_value, int new_value,
	struct mayfly_error *err)
{
	const pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return error_errno(err, -errno, "start the command of --apply");
	if (pid == 0)
		run_in_child(command, name, old_value, new_value);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, -errno, "wait for the command of --apply");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return WIFEXITED(status) ? error_set(err, -EIO, "--apply for %s ended with status %d", name,
					   WEXITSTATUS(status))
				 : error_set(err, -EIO, "--apply for %s was ended by signal %d",
					   name, WTERMSIG(status));
}

int apply_back(struct apply *apply, struct mayfly_error *err)
{
	int first = 0;

	for (size_t i = apply->count; i-- > 0;) {
		struct applied *item = &apply->items[i];
		struct mayfly_error failure;
		int r;

		if (!item->is_applied)
			continue;
		r = run(apply->command, item->name, item->after, item->before, &failure);
		item->is_applied = false;
		if (r < 0)
			print_error(&failure);
		if (r < 0 && first == 0) {
			first = r;
			*err = failure;
		}
	}
	return first;
}

int apply_forward(struct apply *apply, struct mayfly_error *err)
{
	for (size_t i = 0; i < apply->count; i++) {
		struct applied *item = &apply->items[i];
		struct mayfly_error ignored;
		const int r = run(apply->command, item->name, item->before, item->after, err);

		if (r < 0) {
			(void)apply_back(apply, &ignored);
			return r;
		}
		item->is_applied = true;
	}
	return 0;
}
