#include "client/cli/terminal/prompt.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/terminal/print.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

static const int watched_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
#define WATCHED (sizeof watched_signals / sizeof watched_signals[0])

static volatile sig_atomic_t signal_caught;

static void on_signal(int number)
{
	signal_caught = number;
}

/* The terminal as it was, who handled signals, and which were blocked. */
struct silence {
	struct termios before;
	struct sigaction handlers[WATCHED];
	sigset_t mask;
};

/* Puts everything back, then lets a signal that came do what it would have done. */
static void silence_end(struct silence *silence)
{
	/* If the terminal is gone there is nothing to put back. */
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silence->before);
	for (size_t i = 0; i < WATCHED; i++)
		(void)sigaction(watched_signals[i], &silence->handlers[i], NULL);
	(void)fputs("\n", stderr);
	(void)sigprocmask(SIG_SETMASK, &silence->mask, NULL);
	if (signal_caught)
		(void)raise(signal_caught);
}

static int silence_begin(struct silence *silence, struct mayfly_error *err)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct termios silent;
	sigset_t watched;

	if (tcgetattr(STDIN_FILENO, &silence->before) != 0)
		return error_errno(err, -errno, "ask the terminal for its settings");
	signal_caught = 0;
	(void)sigemptyset(&watched);
	for (size_t i = 0; i < WATCHED; i++)
		(void)sigaddset(&watched, watched_signals[i]);
	/* They come only while silence_wait() waits: one that came just before a read(2) would be
	 * forgotten by it. */
	(void)sigprocmask(SIG_BLOCK, &watched, &silence->mask);
	for (size_t i = 0; i < WATCHED; i++) {
		(void)sigaction(watched_signals[i], &action, &silence->handlers[i]);
		/* What nohup(1) or a shell has switched off stays off. */
		if (silence->handlers[i].sa_handler == SIG_IGN)
			(void)sigaction(watched_signals[i], &silence->handlers[i], NULL);
	}
	silent = silence->before;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	silent.c_lflag |= ICANON | ISIG;
	/* A stopped process would leave a silent terminal to the shell. */
	silent.c_cc[VSUSP] = _POSIX_VDISABLE;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0) {
		(void)error_errno(err, -errno, "switch the terminal's echo off");
		silence_end(silence);
		return err ? err->code : -EIO;
	}
	return 0;
}

/* Waits until a line can be read or a signal comes: then the terminal must be put back. */
static int silence_wait(const struct silence *silence, struct mayfly_error *err)
{
	struct pollfd typed = { .fd = STDIN_FILENO, .events = POLLIN };

	if (ppoll(&typed, 1, NULL, &silence->mask) < 0)
		return error_errno(err, -errno, "wait for the terminal");
	return 0;
}

/* Reads one line of a terminal in canonical mode: each read(2) gives at most one. */
static int read_line(
	unsigned char *bytes, size_t size, size_t *ret_length, struct mayfly_error *err)
{
	const ssize_t got = read(STDIN_FILENO, bytes, size);

	if (got < 0)
		return error_errno(err, -errno, "read from the terminal");
	if (got == 0)
		return error_set(err, -ENODATA, "nothing was typed");
	*ret_length = (size_t)got;
	if (bytes[got - 1] == '\n')
		(*ret_length)--;
	return 0;
}

bool prompt_is_possible(void)
{
	return isatty(STDIN_FILENO);
}

static int read_hidden(const char *prompt, struct secret *line, struct mayfly_error *err)
{
	struct silence silence;
	size_t length = 0;
	int r = silence_begin(&silence, err);

	if (r < 0)
		return r;
	/* Not before: what is typed earlier is shown, or thrown away with the change of settings.
	 */
	say_aside("%s: ", prompt);
	r = silence_wait(&silence, err);
	if (r == 0)
		r = read_line(line->bytes, line->length, &length, err);
	silence_end(&silence);
	if (r == 0 && length >= PROMPT_LINE_MAX)
		r = error_set(err, -EFBIG,
			"a terminal cuts a line after %d bytes\npipe the value in, or give "
			"--from-file FILE",
			PROMPT_LINE_MAX);
	if (r == 0)
		secret_shorten(line, length);
	return r;
}

int prompt_hidden(
	struct cli *cli, const char *prompt, struct secret *ret_line, struct mayfly_error *err)
{
	AUTO_SECRET line = { 0 };
	struct arena *arena;
	int r = cli_arena(cli, &arena, err);

	if (r == 0)
		r = secret_new(arena, PROMPT_LINE_MAX + 2, &line, err);
	if (r < 0)
		return r;
	r = read_hidden(prompt, &line, err);
	if (r < 0)
		return r;
	*ret_line = secret_take(&line);
	return 0;
}

int prompt_hidden_twice(
	struct cli *cli, const char *prompt, struct secret *ret_line, struct mayfly_error *err)
{
	AUTO_SECRET first = { 0 };
	AUTO_SECRET second = { 0 };
	int r = prompt_hidden(cli, prompt, &first, err);

	if (r == 0)
		r = prompt_hidden(cli, "The same again", &second, err);
	if (r < 0)
		return r;
	if (!secret_equal(&first, &second))
		return error_set(err, -ECANCELED, "the two are different\nnothing was changed");
	*ret_line = secret_take(&first);
	return 0;
}

int prompt_visible(const char *prompt, char *buffer, size_t size, struct mayfly_error *err)
{
	size_t length = 0;
	int r;

	say_aside("%s: ", prompt);
	r = read_line((unsigned char *)buffer, size - 1, &length, err);
	buffer[r == 0 ? length : 0] = '\0';
	return r;
}

int prompt_confirm(const struct cli *cli, const char *question, struct mayfly_error *err)
{
	char answer[64] = "";
	int r;

	if (argument_flag(cli->arguments, "yes"))
		return 0;
	if (!prompt_is_possible())
		return error_set(err, CLI_ERROR_USAGE,
			"there is no terminal to ask at\ngive --yes if it shall be done");
	r = prompt_visible(question, answer, sizeof answer, err);
	if (r < 0 && r != -ENODATA)
		return r;
	if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
		return 0;
	return error_set(err, -ECANCELED, "not confirmed: nothing was changed");
}
