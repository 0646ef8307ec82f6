#include "daemon/broker/audit/audit_chain.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const char NEXT[] = "mayfly audit next";
static const char TAIL_START[] = ",\"mac\":\"";

void audit_chain_mac(const struct secret *key, const unsigned char previous[AUDIT_MAC_BYTES],
	const char *body, size_t length, unsigned char ret_mac[AUDIT_MAC_BYTES])
{
	crypto_generichash_state state;

	/* These fail for lengths out of range only, and all of them are constants. */
	(void)crypto_generichash_init(&state, key->bytes, key->length, AUDIT_MAC_BYTES);
	(void)crypto_generichash_update(&state, previous, AUDIT_MAC_BYTES);
	(void)crypto_generichash_update(&state, (const unsigned char *)body, length);
	(void)crypto_generichash_final(&state, ret_mac, AUDIT_MAC_BYTES);
	/* The state starts with the key as its first block. */
	sodium_memzero(&state, sizeof state);
}

void audit_chain_ratchet(struct secret *key)
{
	crypto_generichash_state state;

	/* As above. The result goes where the old key was, so no copy is left on the stack. */
	(void)crypto_generichash_init(&state, key->bytes, key->length, key->length);
	(void)crypto_generichash_update(&state, (const unsigned char *)NEXT, sizeof NEXT - 1);
	(void)crypto_generichash_final(&state, key->bytes, key->length);
	sodium_memzero(&state, sizeof state);
}

void audit_chain_tail(
	const unsigned char mac[AUDIT_MAC_BYTES], char ret_tail[AUDIT_LINE_TAIL_BYTES + 1])
{
	char hex[AUDIT_MAC_HEX + 1];

	(void)sodium_bin2hex(hex, sizeof hex, mac, AUDIT_MAC_BYTES);
	/* The size is exact: the three parts make AUDIT_LINE_TAIL_BYTES. */
	(void)snprintf(ret_tail, AUDIT_LINE_TAIL_BYTES + 1, "%s%s\"}", TAIL_START, hex);
}

static bool take_text(const char **at, const char *end, const char *expected)
{
	const size_t length = strlen(expected);

	if ((size_t)(end - *at) < length || memcmp(*at, expected, length) != 0)
		return false;
	*at += length;
	return true;
}

static bool take_number(const char **at, const char *end, uint64_t *ret_number)
{
	const char *const start = *at;
	uint64_t number = 0;

	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		if (__builtin_mul_overflow(number, 10, &number) ||
			__builtin_add_overflow(number, (uint64_t)(**at - '0'), &number))
			return false;
	if (*at == start || (*start == '0' && *at - start > 1))
		return false;
	*ret_number = number;
	return true;
}

static bool take_string(
	const char **at, const char *end, const char **ret_string, size_t *ret_length)
{
	const char *const quote = memchr(*at, '"', (size_t)(end - *at));

	if (!quote)
		return false;
	*ret_string = *at;
	*ret_length = (size_t)(quote - *at);
	*at = quote + 1;
	return true;
}

/* The members at the front of a body, as audit_record.c writes them. */
static bool parse_front(const char *at, const char *end, struct audit_line *line)
{
	const char *boot;
	size_t boot_length;
	uint64_t uptime_ms;

	return take_text(&at, end, "{\"seq\":") && take_number(&at, end, &line->seq) &&
	       take_text(&at, end, ",\"time\":\"") &&
	       take_string(&at, end, &line->time, &line->time_length) &&
	       take_text(&at, end, ",\"boot\":\"") && take_string(&at, end, &boot, &boot_length) &&
	       take_text(&at, end, ",\"uptime_ms\":") && take_number(&at, end, &uptime_ms) &&
	       take_text(&at, end, ",\"epoch\":") && take_number(&at, end, &line->epoch) &&
	       take_text(&at, end, ",");
}

static bool parse_tail(const char *tail, unsigned char ret_mac[AUDIT_MAC_BYTES])
{
	char again[AUDIT_LINE_TAIL_BYTES + 1];

	if (sodium_hex2bin(ret_mac, AUDIT_MAC_BYTES, tail + strlen(TAIL_START), AUDIT_MAC_HEX, NULL,
		    NULL, NULL) != 0)
		return false;
	/* Compared as text, because hex2bin() takes capital letters and fewer digits too. */
	audit_chain_tail(ret_mac, again);
	return memcmp(tail, again, AUDIT_LINE_TAIL_BYTES) == 0;
}

bool audit_line_parse(const char *text, size_t length, struct audit_line *ret_line)
{
	struct audit_line line = { .text = text };

	if (length <= AUDIT_LINE_TAIL_BYTES)
		return false;
	line.body_length = length - AUDIT_LINE_TAIL_BYTES;
	if (!parse_front(text, text + line.body_length, &line) ||
		!parse_tail(text + line.body_length, line.mac))
		return false;
	*ret_line = line;
	return true;
}

const char *audit_chain_check(
	const struct secret *key, const struct audit_head *head, const struct audit_line *line)
{
	unsigned char mac[AUDIT_MAC_BYTES];

	if (line->seq != head->seq + 1)
		return "its seq does not follow the record before it";
	audit_chain_mac(key, head->mac, line->text, line->body_length, mac);
	if (sodium_memcmp(mac, line->mac, sizeof mac) != 0)
		return "its mac does not fit: it, or the record before it, was changed";
	return NULL;
}

struct audit_head audit_line_head(const struct audit_line *line)
{
	struct audit_head head = { .seq = line->seq };

	memcpy(head.mac, line->mac, sizeof head.mac);
	return head;
}
