/* Where one engine keeps its files, and what it is called. Filled by the process that serves it;
 * everything in this folder reads it. Holds values only. */
#pragma once

#include "include/mayfly/limits.h"

#include <stdbool.h>

#define CONTAINER_ID_LENGTH 64 /* lower-case hex digits */
#define ENGINE_PATH_SIZE    1024

/* Files that the engine writes about one container, and its table of images. */
#define ENGINE_FILE_MAX_BYTES (4 * 1024 * 1024)

enum user_namespace {
	USER_NAMESPACE_UNKNOWN = 0, /* the engine has not answered yet */
	USER_NAMESPACE_HOST,
	USER_NAMESPACE_REMAPPED,
};

struct engine_place {
	int root;		 /* O_PATH; owned by whoever fills the struct */
	const char *plugin_name; /* our name as a volume driver */
	const char *socket;	 /* the engine's API, as configured */
	const char *exec_root;
	char data_root[ENGINE_PATH_SIZE]; /* absolute below ROOT; "" while unknown */
	char storage_driver[64];	  /* what the engine says that it uses, "" while unknown */
	enum user_namespace user_namespace;
};
