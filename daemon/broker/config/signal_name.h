/* Signals by the names that a policy may use. */
#pragma once

/* The number of NAME ("HUP"); 0 for none of ours. */
int signal_number(const char *name);
/* The other way; "?" for none of ours. */
const char *signal_name(int number);
