/* What the supervisor must know of the configuration, read for it by a process that has dropped
 * everything: the supervisor itself parses nothing. */
#pragma once

/* Reads ROOT's configuration as nobody, looks up user and group, writes a struct launch_plan to FD.
 * Complaints go to standard error. Returns an exit status. */
int plan_write(const char *root, int fd);

/* Reads configuration and policy as nobody and tells everything that is wrong, and every note.
 * Returns an exit status. */
int plan_check(const char *root);
