#include "client/exec/print_delivery.h"

#include "client/exec/verb.h"

#include <stdio.h>

void print_delivery_line(const struct mayfly_delivery *delivery)
{
	const char *expires = mayfly_delivery_expires(delivery);

	print_text(mayfly_delivery_target(delivery));
	(void)printf(" (generation %llu, lease ",
		(unsigned long long)mayfly_delivery_generation(delivery));
	print_text(mayfly_delivery_lease(delivery));
	if (expires) {
		(void)printf(", ends ");
		print_text(expires);
	}
	(void)printf(")");
}

void print_delivery_files(const struct mayfly_delivery *delivery)
{
	for (size_t i = 0; i < mayfly_delivery_file_count(delivery); i++) {
		(void)printf("  ");
		print_text(mayfly_delivery_file_path(delivery, i));
		for (size_t j = 0; j < mayfly_delivery_secret_count(delivery, i); j++) {
			(void)printf(j ? ", " : ": ");
			print_text(mayfly_delivery_secret_name(delivery, i, j));
			(void)printf(" version %llu",
				(unsigned long long)mayfly_delivery_secret_version(delivery, i, j));
		}
		(void)printf("\n");
	}
}

static void member(struct text_buffer *out, const char *name, const char *text)
{
	text_buffer_add_json(out, name);
	text_buffer_add_text(out, ":");
	text_buffer_add_json(out, text);
	text_buffer_add_text(out, ",");
}

static void file_to_json(
	const struct mayfly_delivery *delivery, size_t index, struct text_buffer *out)
{
	text_buffer_add_text(out, "{");
	member(out, "path", mayfly_delivery_file_path(delivery, index));
	text_buffer_add_text(out, "\"secrets\":[");
	for (size_t j = 0; j < mayfly_delivery_secret_count(delivery, index); j++) {
		text_buffer_add_text(out, j ? ",{" : "{");
		member(out, "name", mayfly_delivery_secret_name(delivery, index, j));
		text_buffer_add_text(out, "\"version\":");
		text_buffer_add_number(out, mayfly_delivery_secret_version(delivery, index, j));
		text_buffer_add_text(out, "}");
	}
	text_buffer_add_text(out, "]}");
}

void delivery_to_json(const struct mayfly_delivery *delivery, struct text_buffer *out)
{
	text_buffer_add_text(out, "{");
	member(out, "lease", mayfly_delivery_lease(delivery));
	member(out, "target", mayfly_delivery_target(delivery));
	text_buffer_add_text(out, "\"generation\":");
	text_buffer_add_number(out, mayfly_delivery_generation(delivery));
	text_buffer_add_text(out, ",");
	member(out, "expires", mayfly_delivery_expires(delivery));
	text_buffer_add_text(out, "\"files\":[");
	for (size_t i = 0; i < mayfly_delivery_file_count(delivery); i++) {
		text_buffer_add_text(out, i ? "," : "");
		file_to_json(delivery, i, out);
	}
	text_buffer_add_text(out, "]}");
}
