/* What the broker gives up before its first byte of input, and what it needs to do before that. */
#pragma once

#include "daemon/broker/broker_start.h"
#include "proto/error.h"

/* For a broker that connects (birth->ports_count > 0; without ports nothing is done): names are
 * looked up without code from disk, and libcurl's memory is wiped when it is given back. Before the
 * sandbox. 0, -ENOMEM. */
int broker_prepare_to_connect(const struct broker_birth *birth, struct mayfly_error *err);

/* Drops to the user who owns state_path, the broker's only directory that it may write to; then
 * Landlock where the kernel has it (Linux 5.13, ports 6.7), then seccomp. Proven or refused: a
 * negative errno, and the process must not serve. */
int broker_enter_sandbox(
	const struct broker_birth *birth, const char *state_path, struct mayfly_error *err);
