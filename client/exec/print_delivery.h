/* A delivery, for people and for programs. Names and paths only. */
#pragma once

#include "client/lib/wire/text_buffer.h"
#include "include/mayfly/delivery.h"

/* "/run/secrets (generation 3, lease X, ends 2025-01-02T03:04:05Z)", without a newline. */
void print_delivery_line(const struct mayfly_delivery *delivery);

/* One line for each file, indented. */
void print_delivery_files(const struct mayfly_delivery *delivery);

/* The delivery as the interface file has it. */
void delivery_to_json(const struct mayfly_delivery *delivery, struct text_buffer *out);
