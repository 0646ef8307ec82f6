/* The log of a process: one line for each event, on standard error.
 * For operators, not for decisions: those go to the audit file. Never secret bytes. */
#pragma once

#include "proto/error.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6
};

/* Names the process in every line that follows. NAME must live as long as the process.
 * WITH_PRIORITY puts "<3>" and the like in front, as sd-daemon(3) asks of a service. */
void log_init(const char *name, int with_priority);

/* Writes one line with a single write(2). Newlines inside become spaces. */
void log_line(enum log_level level, const char *format, ...) MAYFLY_PRINTF(2, 3);

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
