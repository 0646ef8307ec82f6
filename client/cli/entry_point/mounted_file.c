#include "client/cli/entry_point/mounted_file.h"

#include "client/cli/compose/service_secret.h"

#include <stdlib.h>
#include <string.h>

/* A search among the directories of one service. */
struct search {
	const char *secret;
	struct mounted_file found; /* empty: not yet */
	char *vague;		   /* a directory that may hold anything, or NULL */
	char *offered;		   /* what there is, for the refusal */
};

static void search_done(struct search *search)
{
	mounted_file_done(&search->found);
	free(search->vague);
	free(search->offered);
}

void mounted_file_done(struct mounted_file *file)
{
	free(file->directory);
	free(file->path);
	*file = (struct mounted_file){ 0 };
}

static void offer(struct search *search, const char *path)
{
	char *longer = text_format("%s%s%s", search->offered, search->offered[0] ? ", " : "", path);

	free(search->offered);
	search->offered = longer;
}

/* Looks through FILES, a volume's option: "a=keys/a:uid=0,b". */
static void look_through(struct search *search, const char *directory, const char *files)
{
	while (*files) {
		const size_t length = strcspn(files, ",");
		struct file_spec spec = { 0 };
		struct mayfly_error err;

		/* What is no file there, the engine's driver refuses. */
		if (file_spec_parse(files, length, &spec, &err) == 0) {
			const char *path = file_spec_path(&spec);

			offer(search, path);
			if (!search->found.path && (strcmp(path, search->secret) == 0 ||
							   strcmp(spec.name, search->secret) == 0))
				search->found = (struct mounted_file){ text_copy(directory),
					text_copy(path) };
		}
		files += length;
		files += strspn(files, ",");
	}
}

/* One mount of the service's own: "volume:/directory[:options]", or its long form. */
static void look_at_mount(struct search *search, const struct mounts *mounts, json_t *mount)
{
	const char *text = json_is_string(mount) ? json_string_value(mount) : "";
	const char *colon = strchr(text, ':');
	AUTO_FREE char *source = colon ? text_format("%.*s", (int)(colon - text), text)
				       : text_copy(json_text(mount, "source"));
	AUTO_FREE char *target =
		colon ? text_format("%.*s", (int)strcspn(colon + 1, ":"), colon + 1)
		      : text_copy(json_text(mount, "target"));
	json_t *volume = json_object_get(json_object_get(mounts->model, "volumes"), source);
	const char *files = json_text(json_object_get(volume, "driver_opts"), "files");

	if (!volume || strcmp(json_text(volume, "driver"), mounts->driver) != 0)
		return;
	if (files[0]) {
		look_through(search, target, files);
		return;
	}
	free(search->vague);
	search->vague = text_copy(target);
}

bool mounted_file_find(const struct mounts *mounts, const char *service, const char *secret,
	struct mounted_file *ret_file, struct text_list *refusals)
{
	const struct conversion *conversion = mounts->conversion;
	json_t *own = json_object_get(
		json_object_get(json_object_get(mounts->model, "services"), service), "volumes");
	MAYFLY_CLEANUP(search_done)
	struct search search = { .secret = secret, .offered = text_copy("") };
	size_t i;
	json_t *mount;

	for (i = 0; i < conversion->count; i++)
		if (strcmp(conversion->volumes[i].service, service) == 0)
			look_through(&search, conversion->volumes[i].directory,
				conversion->volumes[i].files);
	json_array_foreach (own, i, mount)
		look_at_mount(&search, mounts, mount);
	if (!search.found.path && search.vague)
		search.found = (struct mounted_file){ ptr_take(&search.vague), text_copy(secret) };
	if (!search.found.path) {
		text_list_add(refusals, "service %s: it has no secret %s%s%s", service, secret,
			search.offered[0] ? "; it has " : "", search.offered);
		return false;
	}
	*ret_file = search.found;
	search.found = (struct mounted_file){ 0 };
	return true;
}
