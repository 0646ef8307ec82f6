/* Any bytes as a reply of the broker: a harness for libFuzzer, and a run of its own over changed
 * examples. With clang: -fsanitize=fuzzer,address -DMAYFLY_LIBFUZZER, this file and client/lib. */
#include "client/lib/delivery.h"
#include "client/lib/identity.h"
#include "client/lib/wire/call.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was counted depends on the input, so that no reading of it is left out. */
static size_t use_delivery(struct mayfly_delivery *delivery)
{
	size_t used = strlen(mayfly_delivery_lease(delivery)) +
		      strlen(mayfly_delivery_target(delivery)) +
		      (size_t)mayfly_delivery_expires_unix_s(delivery);

	for (size_t i = 0; i <= mayfly_delivery_file_count(delivery); i++) {
		const char *path = mayfly_delivery_file_path(delivery, i);

		used += path ? strlen(path) : 1;
		for (size_t j = 0; j <= mayfly_delivery_secret_count(delivery, i); j++) {
			const char *name = mayfly_delivery_secret_name(delivery, i, j);

			used += name ? strlen(name) : 1;
			used += mayfly_delivery_secret_version(delivery, i, j);
		}
	}
	mayfly_delivery_free(delivery);
	return used;
}

static size_t use_identity(struct mayfly_identity *identity)
{
	size_t used = strlen(mayfly_identity_container(identity));

	for (size_t i = 0; i < mayfly_identity_grant_count(identity); i++)
		used += strlen(mayfly_identity_grant(identity, i));
	for (size_t i = 0; i < mayfly_identity_fact_count(identity); i++)
		used += strlen(mayfly_identity_fact_value(identity, i)) +
			mayfly_identity_fact_is_proved(identity, i);
	mayfly_identity_free(identity);
	return used;
}

static bool read_bytes(const uint8_t *data, size_t size, struct reply *ret_reply)
{
	struct mayfly_failure failure;
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	return reply_read(text, size, ret_reply, &failure) == MAYFLY_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mayfly_failure failure;
	struct mayfly_delivery *delivery;
	struct mayfly_identity *identity;
	struct text_buffer echo = { 0 };
	struct reply reply;
	size_t used = 0;

	if (!read_bytes(data, size, &reply))
		return 0;
	if (reply.error)
		used += (size_t)reply_failure(&reply, "Request", &failure) + strlen(failure.text);
	if (call_write_echo(&echo, &reply, &failure) == MAYFLY_OK && echo.bytes[echo.length - 1])
		abort();
	text_buffer_done(&echo);
	if (delivery_read(&reply, "Request", &delivery, &failure) == MAYFLY_OK)
		used += use_delivery(delivery);
	reply_done(&reply);
	if (!read_bytes(data, size, &reply))
		abort();
	if (identity_read(&reply, &identity, &failure) == MAYFLY_OK)
		used += use_identity(identity);
	reply_done(&reply);
	/* No compiler may leave out what came before. */
	__asm__ volatile("" : : "r"(used));
	return 0;
}

#ifndef MAYFLY_LIBFUZZER
#include "lib_fixture.h"

#define ENDS                                                                                  \
	"{\"parameters\":{\"delivery\":{\"lease\":\"L\",\"target\":\"/t\",\"generation\":1,"  \
	"\"expires\":\"2030-01-02T03:04:05Z\",\"files\":[]},\"is_new\":false},\"continues\":" \
	"false}"

static const char *const seeds[] = { REQUEST_REPLY, WHOAMI_REPLY, EVENT("rotated", "A", "2"),
	ERROR_REPLY("TooMuch", "\"limit\":\"ten\",\"retry_after_ms\":30"),
	ERROR_REPLY("EchoRequired", "\"nonce\":\"n\""),
	ERROR_REPLY("NoTarget", "\"text\":\"t\",\"advice\":null"), ENDS };
#define SEEDS (sizeof seeds / sizeof seeds[0])

static uint32_t state = 88172645;

static uint32_t pick(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state % below;
}

/* A seed with bytes changed, a piece taken out or one of another put in. Returns its length. */
static size_t make(uint8_t text[1024])
{
	static const char stuff[] = "{}[]\",:\\u0d8ftn-.e1 \xe2\x82\xac\xff";
	const char *seed = seeds[pick(SEEDS)], *other = seeds[pick(SEEDS)];
	size_t length = strlen(seed), at = pick((uint32_t)length), size = pick(20);

	memcpy(text, seed, length);
	for (uint32_t i = pick(4); i > 0; i--)
		text[pick((uint32_t)length)] = (uint8_t)stuff[pick(sizeof stuff - 1)];
	size = size < length - at ? size : length - at;
	if (pick(3) == 0) {
		memmove(text + at, text + at + size, length - at - size);
		length -= size;
	} else if (pick(3) == 0 && size < strlen(other)) {
		memmove(text + at + size, text + at, length - at);
		memcpy(text + at, other + pick((uint32_t)(strlen(other) - size)), size);
		length += size;
	}
	return length;
}

int main(void)
{
	uint8_t text[1024];

	for (size_t i = 0; i < SEEDS; i++)
		LLVMFuzzerTestOneInput((const uint8_t *)seeds[i], strlen(seeds[i]));
	for (int i = 0; i < 300000; i++)
		LLVMFuzzerTestOneInput(text, make(text));
	printf("1..1\nok 1 - any reply is taken or refused\n");
	return 0;
}
#endif
