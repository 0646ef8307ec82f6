/* Names of sets and secrets, and paths of files in a delivery: what is a valid one.
 * Pure functions on strings; both sides of the operator socket use them. */
#pragma once

#include "include/mayfly/limits.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "prod/shop/smtp" taken apart: set "prod", name "shop/smtp". Plain strings, no secret. */
struct secret_reference {
	char set[MAYFLY_SET_NAME_MAX + 1];
	char name[MAYFLY_REFERENCE_MAX + 1];
};

#define MAYFLY_FIELD_MAX 64

/* "shop/db#password@3" taken apart: name "shop/db", field "password", version 3. */
struct secret_selector {
	char name[MAYFLY_REFERENCE_MAX + 1];
	char field[MAYFLY_FIELD_MAX + 1]; /* "": none was named */
	uint32_t version;		  /* 0: none was named */
};

/* SET is `[a-z][a-z0-9-]{0,62}` and not "environment".
 * Returns 0, or -EINVAL with the rule in ERR. */
int set_name_check(const char *set, struct mayfly_error *err);

/* NAME is segments `[A-Za-z0-9][A-Za-z0-9._-]*` joined by "/", 255 bytes at most.
 * Returns 0, or -EINVAL with the rule in ERR. */
int secret_name_check(const char *name, struct mayfly_error *err);

/* NAME[#FIELD][@VERSION], where FIELD is `[A-Za-z0-9_.-]{1,64}` and VERSION a number from 1 on; 255
 * bytes in all. Sets of provider `vault` have fields and such versions, sets of provider `store`
 * have not. Returns 0, or -EINVAL with the rule in ERR. */
int secret_selector_parse(
	const char *text, struct secret_selector *ret_selector, struct mayfly_error *err);
int secret_selector_check(const char *text, struct mayfly_error *err);

/* Takes TEXT apart into *RET_REFERENCE. Set and name together have 255 bytes at most.
 * Returns 0, or -EINVAL with the rule that was broken in ERR. */
int secret_reference_parse(
	const char *text, struct secret_reference *ret_reference, struct mayfly_error *err);

/* PATH is a file's place in a delivery: segments as in a secret's name, so none is "..", none
 * starts with a dot (`..data` and `.mayfly.json` are ours), 255 bytes at most. */
int file_path_check(const char *path, struct mayfly_error *err);

/* Of COUNT WORDS the one that WORD was probably meant to be: the smallest edit distance, at most a
 * third of the length of WORD (at least 1). NULL when none is near. Points into WORDS. */
const char *nearest_word(const char *word, const char *const *words, size_t count);
