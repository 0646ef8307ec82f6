/* For tests of libmayfly: a socket that answers by a script, and a libc that fails when told to. */
#pragma once

#include "include/mayfly/mayfly.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* What this thread's calls of libc do; the library is linked so that it gets them. */
struct faults {
	long fail_allocation; /* counts down; at 1 an allocation fails. 0: none does */
	bool is_failed;	      /* one has */
	bool one_byte;	      /* send(), recv() and read() move one byte at most */
	bool interrupts;      /* every other one of them, and of openat(), fails with EINTR */
	bool no_lock;	      /* mlock() fails */
	void (*on_unmap)(const void *bytes, size_t size); /* before munmap() */
	void (*on_read)(void);				  /* before read() */
	void (*on_sleep)(void);				  /* instead of clock_nanosleep() */
};
extern _Thread_local struct faults faults;

enum step_kind {
	STEP_END = 0, /* no more calls are expected */
	STEP_REPLY,   /* TEXT and a NUL */
	STEP_PIECES,  /* the same, byte by byte */
	STEP_LAST,    /* TEXT and a NUL, then the connection ends */
	STEP_HALF,    /* TEXT without a NUL, then the connection ends */
	STEP_GONE,    /* the connection ends */
	STEP_SILENCE, /* nothing */
};

/* What becomes of one call. */
struct step {
	const char *method; /* that must be called */
	enum step_kind kind;
	const char *text; /* "\1" in it is the NUL between two messages */
};

#define STEPS_MAX 16

struct scripted {
	char directory[80], path[100];
	const struct step *steps; /* end with STEP_END */
	size_t at;		  /* the next one */
	char calls[STEPS_MAX][1024];
	char problem[256]; /* "": none */
	int listener, stop[2];
	unsigned connections, connected;
	pthread_t thread;
};

/* Writes "$TMPDIR/mayfly-NAME.XXXXXX" for mkdtemp() and its like to PATH. */
void temporary_path(char *path, size_t size, const char *name);

/* Serves STEPS at S->path until scripted_stop(), which fails the test if S has seen a problem. */
void scripted_start(struct scripted *s, const struct step *steps);
void scripted_stop(struct scripted *s);
/* The same when a call may have been given up anywhere: whatever was asked is right. */
void scripted_abandon(struct scripted *s);
/* True if nobody is connected. */
bool scripted_is_idle(const struct scripted *s);
/* Sends TEXT, as a step does, and a NUL to everybody who is connected. */
void scripted_send(struct scripted *s, const char *text);

/* Descriptors that this process has; fails the test if one that is there since the first call is
 * not close-on-exec. */
unsigned open_descriptors(void);

#define PLAIN_DELIVERY                                                                         \
	"{\"lease\":\"L\",\"target\":\"/t\",\"generation\":1,\"expires\":null,\"files\":[{"    \
	"\"path\":\"/t/a\",\"secrets\":[{\"name\":\"prod/a\",\"version\":3},{\"name\":\"prod/" \
	"b\",\"version\":4}]}]}"
#define REQUEST_REPLY "{\"parameters\":{\"delivery\":" PLAIN_DELIVERY ",\"is_new\":true}}"
#define WHOAMI_REPLY                                                                          \
	"{\"parameters\":{\"container\":\"web\",\"container_id\":\"0123\",\"engine\":"        \
	"\"docker\",\"grants\":[\"g\",\"h\"],\"facts\":[{\"fact\":\"pid\",\"value\":\"7\","   \
	"\"known_by\":\"kernel\"},{\"fact\":\"name\",\"value\":\"web\",\"known_by\":\"engine" \
	"\"}]}}"
#define ERROR_REPLY(name, parameters) \
	"{\"error\":\"org.mayfly.Container." name "\",\"parameters\":{" parameters "}}"
#define EVENT(name, lease, generation)                                                     \
	"{\"parameters\":{\"event\":\"" name "\",\"delivery\":{\"lease\":\"" lease         \
	"\",\"target\":\"/t\",\"generation\":" generation ",\"files\":[]}},\"continues\":" \
	"true}"
#define SYNCHRONISED "{\"parameters\":{\"event\":\"synchronised\"},\"continues\":true}"
