#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/text.h"
#include "client/cli/value/value.h"

#include <limits.h>
#include <unistd.h>

/* A terminal gets printable text and newlines only: other bytes could steer it. */
static int check_printable(const struct secret *value, struct mayfly_error *err)
{
	for (size_t i = 0; i < value->length; i++) {
		const unsigned char c = value->bytes[i];

		if ((c < 32 && c != '\n' && c != '\t') || c == 127)
			return error_set(err, -EINVAL,
				"the value has bytes that a terminal would not show as they are\n"
				"send it into a program: `mayfly reveal ... | PROGRAM`");
	}
	return 0;
}

static int write_out(const struct secret *value, struct mayfly_error *err)
{
	const bool is_terminal = isatty(STDOUT_FILENO);
	bool ends_in_newline;
	int r = is_terminal ? check_printable(value, err) : 0;

	if (r < 0)
		return r;
	ends_in_newline = value->length > 0 && value->bytes[value->length - 1] == '\n';
	return value_write(STDOUT_FILENO, value, is_terminal && !ends_in_newline, err);
}

int reveal_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_SECRET value = { 0 };
	AUTO_FD fd = -1;
	long long version = 0;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = argument_number(cli->arguments, "version", 1, INT_MAX, 0, &version, err);
	if (r == 0)
		r = receiving_memfd_new(&fd, err);
	if (r == 0)
		r = operator_call(cli,
			&(struct operator_call){ .method = "Reveal",
				.parameters = json_made(json_pack("{s:s, s:o*, s:i}", "name", name,
					"version", version ? json_integer(version) : NULL,
					"into_fd", 0)),
				.fds = &fd,
				.fds_count = 1 },
			NULL, err);
	if (r == 0)
		r = receiving_memfd_read(cli, fd, MAYFLY_VALUE_MAX_BYTES, &value, err);
	if (r == 0)
		r = write_out(&value, err);
	return r < 0 ? r : CLI_DONE;
}

int get_run(struct cli *cli, struct mayfly_error *err)
{
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r < 0)
		return r;
	return error_set(err, -EPERM,
		"values are not printed; containers get them as files\n"
		"compare one you have: `mayfly verify %s`; see one, audited, where the "
		"configuration allows it: `mayfly reveal %s`",
		name, name);
}
