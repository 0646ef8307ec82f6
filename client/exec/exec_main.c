/* Mayfly inside a container: `request`, `watch`, `exec`. */
#include "client/exec/verb.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct verb *const verbs[] = { &request_verb, &watch_verb, &exec_verb };
#define VERBS (sizeof verbs / sizeof verbs[0])

static void print_help(FILE *stream)
{
	(void)fprintf(stream, "Mayfly inside a container. This file needs no other one, under "
			      "whatever name it is "
			      "bound.\n\n");
	for (size_t i = 0; i < VERBS; i++)
		(void)fprintf(stream, "  %-8s %s\n", verbs[i]->name, verbs[i]->summary);
	(void)fprintf(stream,
		"\n`VERB --help` explains each, with an example: /mayfly exec --help\n"
		"`--version` prints the version.\n");
}

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct verb *verb = find(word);

	/* Messages are ours: getopt_long()'s begin with argv[0]. */
	opterr = 0;
	if (verb)
		return verb->run(argc - 1, argv + 1);
	if (strcmp(word, "--version") == 0) {
		(void)printf("mayfly %s\n", MAYFLY_VERSION);
		return finish_output("--version", EXEC_DONE);
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "help") == 0) {
		print_help(stdout);
		return finish_output("--help", EXEC_DONE);
	}
	if (word[0])
		(void)fprintf(stderr, "mayfly: there is no such verb\n");
	print_help(stderr);
	return EXEC_USAGE;
}
