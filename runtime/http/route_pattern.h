/* The text of a route's pattern, read into its segments. Pure; everything is borrowed from the
 * text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum { SEGMENT_MAX = 255, SEGMENTS_MAX = 64 };

enum part_kind { FIXED, PARAM, STAR, REST /* a star at the end */ };

struct part {
    enum part_kind kind;
    struct str text;       /* of a fixed part, or the parameter's name */
    struct str constraint; /* absent if none */
    bool optional;
};

struct pattern {
    struct str text;
    struct part parts[SEGMENTS_MAX];
    size_t count, names;
};

/* `pattern` must be zeroed. False: code INVALID_ROUTE. */
bool route_pattern_read(struct pattern *pattern, struct str text, struct err *err);

/* What two spellings of one segment have in common: its bytes, escapes resolved. Segments were
 * told apart before, so an escaped slash in one stays a mere byte of it. SIZE_MAX if longer than
 * any fixed text can be.
 */
size_t route_canonical(struct str segment, char out[SEGMENT_MAX]);
