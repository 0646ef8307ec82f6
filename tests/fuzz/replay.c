/* main() of a fuzz program where there is no libFuzzer: every file of the given directories once.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>

static int play(const char *directory, const char *name)
{
	char path[4096];
	uint8_t *bytes = malloc(1 << 20);
	size_t size = 0;
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "rb");
	if (!file || !bytes)
		return -1;
	size = fread(bytes, 1, 1 << 20, file);
	(void)fclose(file);
	(void)LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int played = 0;

	for (int i = 1; i < argc; i++) {
		const struct dirent *entry;
		DIR *directory = opendir(argv[i]);

		while (directory && (entry = readdir(directory)))
			if (entry->d_name[0] != '.') {
				if (play(argv[i], entry->d_name) < 0)
					return 1;
				played++;
			}
		if (directory)
			(void)closedir(directory);
	}
	(void)printf("%d files\n", played);
	return played > 0 ? 0 : 1;
}
