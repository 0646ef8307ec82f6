#include "client/cli/policy/grant.h"

#include <stdlib.h>
#include <string.h>

/* A compose `user:` in numbers. */
struct numeric_user {
	bool has_uid, has_gid;
	uint32_t uid, gid;
};

static struct numeric_user parse_user(const char *user)
{
	AUTO_FREE char *copy = text_copy(user);
	struct numeric_user parsed = { 0 };
	char *gid = strchr(copy, ':');

	if (gid)
		*gid++ = '\0';
	parsed.has_uid = file_id_parse("user", copy, &parsed.uid, NULL) == 0;
	parsed.has_gid = gid && file_id_parse("group", gid, &parsed.gid, NULL) == 0;
	return parsed;
}

static mode_t entry_mode(json_t *entry)
{
	mode_t mode = 0400;

	/* The broker says what is wrong with a mode that is none. */
	(void)file_mode_parse(json_text(entry, "mode"), &mode, NULL);
	return mode;
}

/* True if USER certainly cannot open the file: owner, group or others, as the kernel chooses. */
static bool is_unreadable(json_t *entry, const struct numeric_user *user)
{
	const mode_t mode = entry_mode(entry);
	json_t *uid = json_object_get(entry, "uid"), *gid = json_object_get(entry, "gid");

	if (!user->has_uid || user->uid == 0)
		return false;
	/* Without a uid of its own the file is the container's user's. */
	if (!uid || json_integer_value(uid) == user->uid)
		return !(mode & 0400);
	if (gid && user->has_gid && json_integer_value(gid) == user->gid)
		return !(mode & 0040);
	return !(mode & 0004) && (user->has_gid || !(mode & 0040));
}

static bool has_own_uid(json_t *grant)
{
	size_t i;
	json_t *entry;

	json_array_foreach (json_object_get(grant, "secrets"), i, entry) {
		if (!json_object_get(entry, "uid"))
			return false;
	}
	return true;
}

void grant_warn_owner(json_t *grant, const char *user, struct text_list *warnings)
{
	const struct numeric_user numeric = parse_user(user);
	size_t i;
	json_t *entry;

	if (!user[0] && !has_own_uid(grant))
		text_list_add(warnings,
			"the file does not say as which user the service runs: its files belong to "
			"the image's own user; if that is root and the program drops it before it "
			"reads, add :uid=N to --secret");
	else if (strchr(user, '$'))
		text_list_add(warnings,
			"the user %s has a variable: whether it can read the files "
			"is not known here",
			user);
	json_array_foreach (json_object_get(grant, "secrets"), i, entry) {
		const char *as = json_text(entry, "as");

		if (is_unreadable(entry, &numeric))
			text_list_add(warnings,
				"user %s cannot read %s: give its uid, or a mode that lets it",
				user, as[0] ? as : json_text(entry, "name"));
	}
}
