/* Durations as configuration and policy write them: "90s", "15m", "8h", "30d". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DURATION_MAX_S (100u * 365 * 86400)

/* TEXT in seconds: digits and one of s, m, h, d. False for anything else, and above DURATION_MAX_S. */
bool duration_parse(const char *text, uint32_t *ret_s);

#define DURATION_TEXT_SIZE 32

/* SECONDS as people read them: "45 s", "12 min", "3 h 20 min", "5 days". */
void duration_text(char text[DURATION_TEXT_SIZE], uint64_t seconds);
