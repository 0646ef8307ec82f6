/* Replies of the container socket, as libmayfly reads them: any bytes are taken or refused. */
#include "client/lib/delivery.h"
#include "client/lib/identity.h"
#include "client/lib/wire/call.h"
#include "tests/fuzz/fuzz.h"

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

	return reply_read(fuzz_text(data, size), size, ret_reply, &failure) == MAYFLY_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mayfly_failure failure;
	struct mayfly_delivery *delivery;
	struct mayfly_identity *identity;
	struct text_buffer echo = { 0 };
	struct reply reply;
	size_t used = 0;
	bool is_read;

	if (!read_bytes(data, size, &reply))
		return 0;
	if (reply.error)
		used += (size_t)reply_failure(&reply, "Request", &failure) + strlen(failure.text);
	if (call_write_echo(&echo, &reply, &failure) == MAYFLY_OK)
		assert(echo.bytes[echo.length - 1] == '\0');
	text_buffer_done(&echo);
	if (delivery_read(&reply, "Request", &delivery, &failure) == MAYFLY_OK)
		used += use_delivery(delivery);
	reply_done(&reply);
	is_read = read_bytes(data, size, &reply);
	assert(is_read);
	if (identity_read(&reply, &identity, &failure) == MAYFLY_OK)
		used += use_identity(identity);
	reply_done(&reply);
	/* No compiler may leave out what came before. */
	__asm__ volatile("" : : "r"(used));
	return 0;
}
