#include "proto/boot_clock.h"

#include "proto/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t offset_ms;

int64_t boot_clock_offset(const char *text)
{
	const char *line = strstr(text, "boottime");
	long long seconds = 0, nanoseconds = 0;

	if (!line || sscanf(line, "boottime %lld %lld", &seconds, &nanoseconds) != 2)
		return 0;
	return seconds * 1000 + nanoseconds / 1000000;
}

void boot_clock_init(void)
{
	AUTO_FD fd = open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
	char text[256];
	const ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	/* A kernel without the file has no time namespaces. */
	if (length < 0)
		return;
	text[length] = '\0';
	offset_ms = boot_clock_offset(text);
}

int64_t boot_clock_shift_ms(void)
{
	return offset_ms;
}

int64_t boot_clock_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - offset_ms;
}
