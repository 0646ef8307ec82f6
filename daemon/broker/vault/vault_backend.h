/* One set of provider `vault` at work: its link, its login, and what is being read. A secret that
 * many ask for is asked for once; a value no older than the set's `refresh` is given again; when no
 * server answers, the last known one is, up to `max_stale`. Loop thread only.
 *
 * Glossary
 *   secret   what lies at one path of the mount: a map of fields
 *   entry    one version of a secret (0: the newest), for as long as somebody reads or watches it
 *   reader   who wants an entry once        watcher  who is told when it changes */
#pragma once

#include "daemon/broker/vault/vault_cache.h"
#include "daemon/broker/vault/vault_login.h"
#include "proto/secret_name.h"

#define VAULT_PATH_SIZE 640

struct vault_backend;
struct vault_entry;
struct vault_write;

/* A change that was taken back: the newest version that is read is VERSION, until the server has another
 * one than REFUSED. Lost with the backend; then the change comes, and may be taken back, once more. */
struct vault_pin {
	TAILQ_ENTRY(vault_pin) entry;
	char path[VAULT_PATH_SIZE];
	uint32_t version, refused;
};
TAILQ_HEAD(vault_pins, vault_pin);

struct vault_reader {
	TAILQ_ENTRY(vault_reader) entry;
	struct vault_entry *of; /* NULL: is not reading */
	/* STATUS 0 with VALUE (ref it to keep it), which IS_STALE when no server confirmed it just
	 * now; or a negative errno with ERR: -ENOENT there is none, -EIDRM that version is gone,
	 * -EACCES it is refused, -EHOSTDOWN no server answered and nothing is known, -ECANCELED the set is being
	 * configured anew, -ENOMEM. */
	void (*on_value)(struct vault_reader *reader, int status, struct vault_value *value,
		bool is_stale, const struct mayfly_error *err);
};
TAILQ_HEAD(vault_readers, vault_reader);

struct vault_entry {
	TAILQ_ENTRY(vault_entry) entry;
	struct vault_backend *backend;
	struct handle_group handles;
	char path[VAULT_PATH_SIZE]; /* below the mount */
	uint32_t version;	    /* 0: the newest */
	struct vault_value *value;
	uint64_t fresh_until_ms; /* of uv_now() */
	struct vault_readers readers;
	bool is_under_way, is_cache_asked, awaits_cache, waits_for_mount, asks_mount,
		is_unconfirmed;
	uint64_t ends_ms;  /* of uv_now(): of what is under way */
	uint32_t limit_ms; /* of the same, for the message */
	unsigned attempts, checks;
	uint32_t retry_after_s;	   /* as a server has asked for */
	struct vault_token *token; /* that the request was sent with */
	struct vault_exchange *exchange;
	struct vault_login_waiter login;
	struct deadline step;  /* the next try, or telling */
	struct deadline limit; /* the end of all tries */
	/* what was found, for the readers */
	int status;
	struct mayfly_error err;
	/* watching */
	unsigned watchers;
	bool is_polling, is_metadata_denied;
	struct vault_value *told; /* what watchers know */
	uint32_t known;		  /* ... or the number of what they know; 0: nothing */
	struct vault_reader poller;
	struct vault_exchange *metadata;
	struct deadline poll;
};
TAILQ_HEAD(vault_entries, vault_entry);

struct vault_backend {
	TAILQ_ENTRY(vault_backend) entry;
	struct handle_group handles;
	char set[MAYFLY_SET_NAME_MAX + 1];
	uint64_t serial; /* no other backend has had it */
	struct vault_pins pins;
	struct config_vault *config; /* counted */
	uv_loop_t *loop;
	struct arena *arena;
	const struct value_keeper *keeper;
	struct vault_cache *cache;
	struct vault_link link;
	struct vault_login login;
	unsigned kv_version;	      /* 0: not asked yet */
	struct vault_exchange *mount; /* is being asked */
	struct vault_entries entries;
	size_t entries_count;
	TAILQ_HEAD(, vault_write) writes;
	bool is_closed;
	uint64_t served_stale; /* values given without a server's word, since the start */
	void *context;
	void (*on_alarm)(void *context, const char *text);
	/* A watched secret has another version. */
	void (*on_changed)(void *context, const char *set, const char *path, uint32_t version);
	void (*on_new_token)(void *context, const char *set);
};

struct vault_backend_args {
	uv_loop_t *loop;
	struct arena *arena;
	const struct value_keeper *keeper;
	struct store *store;
	struct vault_cache *cache;
	const char *set;
	struct config_vault *config;
	void *context;
	void (*on_alarm)(void *context, const char *text);
	void (*on_changed)(void *context, const char *set, const char *path, uint32_t version);
	void (*on_new_token)(void *context, const char *set);
};

int vault_backend_new(const struct vault_backend_args *args, struct vault_backend **ret_backend,
	struct mayfly_error *err);
/* Readers are told -ECANCELED; then nobody is told anything any more. The loop frees it. */
void vault_backend_close(struct vault_backend *backend);

/* Where NAME of the set lies: by the set's `names`, else prefix and NAME. */
int vault_backend_target(const struct vault_backend *backend, const char *name,
	struct secret_selector *ret_target, struct mayfly_error *err);

/* READER is told once, never before this returns, within about LIMIT_MS. */
void vault_read(struct vault_backend *backend, const char *path, uint32_t version,
	uint32_t limit_ms, struct vault_reader *reader);
void vault_reader_forget(struct vault_reader *reader);

/* What is known of PATH is asked for again by the next reader. */
void vault_backend_outdate(struct vault_backend *backend, const char *path);

/* Asks for the newest version of PATH once in each `refresh`, however many watch it. KNOWN: the version
 * that the watcher has, if it has a number; else 0. */
int vault_watch(struct vault_backend *backend, const char *path, uint32_t known);
void vault_unwatch(struct vault_backend *backend, const char *path);

/* Loop thread. -ENOMEM. */
int vault_pin_set(
	struct vault_backend *backend, const char *path, uint32_t version, uint32_t refused);
/* NULL: nothing was taken back. */
const struct vault_pin *vault_pin_find(const struct vault_backend *backend, const char *path);
void vault_pin_clear(struct vault_backend *backend, const char *path);

/* Of vault_entry.c, for vault_read.c and vault_watch.c. */
struct vault_entry *vault_entry_get(
	struct vault_backend *backend, const char *path, uint32_t version);
struct vault_entry *vault_entry_find(
	const struct vault_backend *backend, const char *path, uint32_t version);
void vault_entry_take_value(struct vault_entry *entry, struct vault_value *value);
void vault_entry_drop_value(struct vault_entry *entry);
void vault_entry_init_reading(struct vault_entry *entry);
/* Of vault_write.c: who writes is told that it cannot be. */
void vault_writes_end(struct vault_backend *backend);
void vault_entry_end_reading(struct vault_entry *entry);
void vault_entry_init_watching(struct vault_entry *entry);
void vault_entry_end_watching(struct vault_entry *entry);
/* Goes on with ENTRY once it is known what kind of mount it is. */
void vault_entry_go_on(struct vault_entry *entry);
void vault_entry_fail(struct vault_entry *entry, const char *text, uint32_t retry_after_s);
/* The path of a request for ENTRY: "secret/data/shop/db?version=3". */
int vault_entry_url(const struct vault_entry *entry, const char *what, char *buffer, size_t size);
