/* Says of each file whether our interpreter accepts it by a published schema, and why not:
 * schema_verdict mayflyd|policy FILE... Prints "accepted FILE" or "refused FILE" and the complaints
 * below it. Only the schema: what schemas cannot say is not judged. */
#include "daemon/broker/config/file_text.h"
#include "daemon/broker/config/json_schema.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int judge(const struct json_schema *schema, const char *path)
{
	struct complaints complaints = { 0 };
	AUTO_DOCUMENT document = { 0 };
	AUTO_FREE char *text = NULL;
	struct mayfly_error err;
	size_t length = 0;
	bool accepted;

	if (file_text_read(AT_FDCWD, path, &text, &length, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	accepted = json_document_parse(path, text, length, &document, &complaints) == 0 &&
		   json_schema_check(schema, &document, &complaints);
	printf("%s %s\n", accepted ? "accepted" : "refused", path);
	for (size_t i = 0; i < complaints.count; i++)
		printf("\t%s: %s%s%s\n", complaints.items[i].where, complaints.items[i].text,
			complaints.items[i].nearest ? "; near: " : "",
			complaints.items[i].nearest ? complaints.items[i].nearest : "");
	complaints_done(&complaints);
	return 0;
}

int main(int argc, char **argv)
{
	MAYFLY_CLEANUP(json_schema_free_p) struct json_schema *schema = NULL;

	if (argc < 2 ||
		json_schema_new(strcmp(argv[1], "policy") == 0 ? &policy_schema : &mayflyd_schema,
			&schema) < 0)
		return EXIT_FAILURE;
	for (int i = 2; i < argc; i++)
		if (judge(schema, argv[i]) < 0)
			return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
