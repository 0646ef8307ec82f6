/* Durations as people write them, in configuration, policy and commands, and as they read them. No call
 * blocks or allocates. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* TEXT in seconds: at most ten digits and one of s, m, h, d, as in "90s". False, and *RET_S is as before,
 * for anything else and above LONGEST_S. */
bool duration_parse(const char *text, uint32_t longest_s, uint32_t *ret_s);

#define DURATION_TEXT_SIZE 32

/* SECONDS as people read them: "45 s", "12 min", "3 h 20 min", "5 days". */
void duration_text(char text[DURATION_TEXT_SIZE], uint64_t seconds);
