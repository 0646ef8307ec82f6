/* Limits that users meet: names, values, versions, deliveries.
 * One place for both sides of every wire; PROTOCOL.md gives the reason for each.
 * Holds numbers only. */
#pragma once

/* "SET/NAME" without its end: a file name's limit, as a secret becomes a file. */
#define MAYFLY_REFERENCE_MAX 255
#define MAYFLY_SET_NAME_MAX  63

/* A value is 1 byte to 1 MiB, any bytes. */
#define MAYFLY_VALUE_MAX_BYTES (1024 * 1024)

#define MAYFLY_VERSIONS_KEPT_DEFAULT 10
#define MAYFLY_VERSIONS_KEPT_MAX     100

/* One delivery: one tmpfs in one container. */
#define MAYFLY_DELIVERY_MAX_FILES 128
#define MAYFLY_DELIVERY_MAX_BYTES (16 * 1024 * 1024)

/* A file's path inside a delivery, with its end. */
#define MAYFLY_FILE_PATH_SIZE 256

#define MAYFLY_PASSPHRASE_MAX_BYTES 1024
#define MAYFLY_ENGINES_MAX	    4
