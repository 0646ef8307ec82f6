/* The chain of audit records: macs, the key's ratchet, and how one line is taken apart.
 * Pure: no I/O, no clock, no allocation.
 *
 * The format (docs/audit-format.md says it for auditors, tests/unit/audit/verify_audit.py reads it
 * independently of this code):
 *
 *   file    lines, each ended by one '\n'; ASCII without control characters
 *   line    {"seq":N,"time":"T","boot":"B","uptime_ms":N,"epoch":N,MEMBERS,"mac":"M"}
 *           written without spaces, members in this order; MEMBERS are the caller's, at least one
 *   body    the line without its last 74 bytes, which are ,"mac":"M"}
 *   M       64 lower-case hex digits of
 *           BLAKE2b-256(key = key of the epoch, previous mac (32 bytes) | body)
 *           where the previous mac of record 1 is 32 zero bytes
 *   seq     1, 2, 3, ... through all segments
 *   epoch   never falls; it may skip values, for an epoch in which nothing was written
 *   key     key(0) is 32 random bytes; key(e+1) = BLAKE2b-256(key = key(e), "mayfly audit next")
 *
 * Safe because only key(e) is in memory or on the disk while epoch e is written: who takes it can
 * write what follows, but a mac of an older epoch is as hard to make as BLAKE2b is to invert. */
#pragma once

#include "proto/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_MAC_BYTES 32
#define AUDIT_MAC_HEX	64

/* ,"mac":"..."} */
#define AUDIT_LINE_TAIL_BYTES (8 + AUDIT_MAC_HEX + 2)

/* One line with its '\n'. A record that names the 128 secrets of one delivery takes 50 KiB. */
#define AUDIT_LINE_MAX_BYTES ((size_t)256 * 1024)

/* Where a chain ends: seq 0 and zeros before its first record. */
struct audit_head {
	uint64_t seq;
	unsigned char mac[AUDIT_MAC_BYTES];
};

struct audit_line {
	const char *text; /* borrowed, as are the pointers below */
	size_t body_length;
	const char *time;
	size_t time_length;
	uint64_t seq;
	uint64_t epoch;
	unsigned char mac[AUDIT_MAC_BYTES];
};

/* The mac of BODY of LENGTH bytes behind PREVIOUS. KEY has AUDIT_KEY_BYTES bytes. */
void audit_chain_mac(const struct secret *key, const unsigned char previous[AUDIT_MAC_BYTES],
	const char *body, size_t length, unsigned char ret_mac[AUDIT_MAC_BYTES]);

/* Replaces KEY by the next epoch's. The old bytes are gone afterwards. */
void audit_chain_ratchet(struct secret *key);

/* Writes the line's end with MAC and a NUL: AUDIT_LINE_TAIL_BYTES + 1 bytes. */
void audit_chain_tail(
	const unsigned char mac[AUDIT_MAC_BYTES], char ret_tail[AUDIT_LINE_TAIL_BYTES + 1]);

/* Takes a line of LENGTH bytes (without '\n') apart, strictly: there is one spelling for every
 * number and every mac. False when it is no audit record. Members are not looked at: whether they
 * are what was written is the mac's to say. */
bool audit_line_parse(const char *text, size_t length, struct audit_line *ret_line);

/* NULL when LINE, of KEY's epoch, is the record behind HEAD; else the words for what is wrong. */
const char *audit_chain_check(
	const struct secret *key, const struct audit_head *head, const struct audit_line *line);

/* HEAD when LINE is the last record. */
struct audit_head audit_line_head(const struct audit_line *line);
