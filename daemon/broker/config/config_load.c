#include "daemon/broker/config/config.h"

#include "daemon/broker/config/file_text.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

int config_load(const char *root, struct config **ret_config, struct complaints *complaints,
	struct mayfly_error *err)
{
	char path[PATH_MAX];
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	int r;

	r = snprintf(path, sizeof path, "%s/etc/mayfly/mayflyd.json", root);
	if (r < 0 || (size_t)r >= sizeof path)
		return error_errno(err, -ENAMETOOLONG, "find the configuration below '%s'", root);
	r = file_text_read(AT_FDCWD, path, &text, &length, err);
	if (r < 0 && r != -ENOENT)
		return r;
	r = r == 0 ? config_parse(path, text, length, ret_config, complaints)
		   : config_parse(path, "{}", 2, ret_config, complaints);
	if (r == -EINVAL)
		return complaints_to_error(complaints, err);
	if (r < 0)
		return error_errno(err, r, "read '%s'", path);
	return 0;
}
