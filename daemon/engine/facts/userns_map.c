#include "daemon/engine/facts/userns_map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool read_id(const char **text, char end, uint32_t *ret_id)
{
	const size_t digits = strspn(*text, "0123456789");

	uint64_t number;

	if (digits == 0 || digits > 10 || (*text)[digits] != end)
		return false;
	number = strtoull(*text, NULL, 10);
	if (number > UINT32_MAX)
		return false;
	*ret_id = (uint32_t)number;
	*text += digits + 1;
	return true;
}

static bool read_suffix(const char *data_root, struct userns_map *ret_map)
{
	const char *slash = strrchr(data_root, '/');
	const char *text = slash ? slash + 1 : data_root;
	struct userns_map map = { .id_count = USERNS_MAP_RANGE };

	if (!read_id(&text, '.', &map.uid_offset) || !read_id(&text, '\0', &map.gid_offset))
		return false;
	*ret_map = map;
	return true;
}

int userns_map_of(const struct engine_place *place, const char *mode, struct userns_map *ret_map,
	struct mayfly_error *err)
{
	const struct userns_map none = { .id_count = UINT32_MAX };
	struct userns_map map = none;
	const bool is_named = read_suffix(place->data_root, &map);

	if (place->user_namespace == USER_NAMESPACE_REMAPPED && !is_named)
		return error_set(err, -EPROTO,
			"the engine remaps user ids, but the name of its directory does not say "
			"how");
	if (place->user_namespace == USER_NAMESPACE_HOST || strcmp(mode, "host") == 0)
		map = none;
	*ret_map = map;
	return 0;
}
