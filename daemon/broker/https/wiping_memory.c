#include "daemon/broker/https/wiping_memory.h"

#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

void *wiping_malloc(size_t size)
{
	return malloc(size);
}

void wiping_free(void *memory)
{
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

void *wiping_realloc(void *old, size_t size)
{
	const size_t before = old ? malloc_usable_size(old) : 0;
	void *grown;

	/* What fits stays; realloc() itself could move it and leave the old bytes behind. */
	if (old && size > 0 && size <= before)
		return old;
	if (size == 0) {
		wiping_free(old);
		return NULL;
	}
	grown = malloc(size);
	if (!grown)
		return NULL;
	if (old)
		memcpy(grown, old, before);
	wiping_free(old);
	return grown;
}

static char *copy_text(const char *text)
{
	return strdup(text);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return size ? malloc(size) : NULL;
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return wiping_realloc(old, size);
}

static void openssl_free(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	wiping_free(memory);
}

int wiping_memory_install(struct mayfly_error *err)
{
	SSL_CTX *warm;

	if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1 ||
		curl_global_init_mem(CURL_GLOBAL_SSL, wiping_malloc, wiping_free, wiping_realloc,
			copy_text, calloc) != CURLE_OK)
		return error_errno(err, -ENOMEM, "prepare for TLS");
	/* Algorithms and the library's own configuration are read when they are first needed: here,
	 * and not behind the sandbox. */
	warm = SSL_CTX_new(TLS_client_method());
	if (!warm)
		return error_errno(err, -ENOMEM, "prepare for TLS");
	SSL_CTX_free(warm);
	return 0;
}
