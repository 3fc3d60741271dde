/* File paths: joining them, and keeping those of a manifest inside the plugin's folder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

char *path_join(const char *dir, const char *rest); /* freed by the caller */
const char *path_tidy(const char *path);            /* without leading "./", borrowed */
const char *path_name(const char *path);            /* the last part, borrowed */
bool path_has_extension(const char *path, const char *extension); /* ".lua"; case counts */

/* Whether the text alone stays below its start: relative, and no ".." part. */
bool path_stays_below(const char *path);

enum path_place { PATH_INSIDE, PATH_OUTSIDE, PATH_MISSING };

/* Where `path` really is, symbolic links resolved. The root itself counts as inside. */
enum path_place path_place(const char *root, const char *path);

bool path_is_file(const char *path); /* a regular file, links followed */
bool path_is_dir(const char *path);

/* Reads a regular file whole; code IO, or TOO_LARGE above `max` bytes. */
bool file_read(const char *path, size_t max, struct buf *out, struct err *err);
