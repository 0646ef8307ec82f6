#include "daemon/broker/config/signal_name.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

/* The same as in docs/schema/policy.schema.json. */
static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },
	{ "USR1", SIGUSR1 },
	{ "USR2", SIGUSR2 },
	{ "INT", SIGINT },
	{ "TERM", SIGTERM },
	{ "QUIT", SIGQUIT },
	{ "WINCH", SIGWINCH },
	{ "ALRM", SIGALRM },
	{ "CONT", SIGCONT },
};

#define SIGNALS (sizeof signals / sizeof signals[0])

int signal_number(const char *name)
{
	for (size_t i = 0; i < SIGNALS; i++)
		if (strcmp(signals[i].name, name) == 0)
			return signals[i].number;
	return 0;
}

const char *signal_name(int number)
{
	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i].number == number)
			return signals[i].name;
	return "?";
}
