/* Time zones: which offset from UTC the clocks of a place have at a moment.
 *
 * A zone is read from the system's tzdata (TZif, RFC 8536), with the rule in its footer for the
 * years that the table does not cover, or made of such a rule alone ("CET-1CEST,M3.5.0,M10.5.0/3").
 * Immutable once made; the maker frees it. The process's own TZ is neither used nor changed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct zone;

/* By IANA name. "UTC" needs no tzdata. */
struct zone *zone_load(const char *name, struct err *err);

/* The machine's: $TZ, else /etc/localtime, else UTC. Never NULL. */
struct zone *zone_local(void);

struct zone *zone_parse(struct str bytes);      /* the content of a file; NULL: malformed */
struct zone *zone_from_rule(struct str footer); /* NULL: malformed */
void zone_free(struct zone *zone);              /* NULL is fine */

/* A stretch of time with one offset: from `start` until before `end`, in seconds since 1970. */
struct zone_span {
    int64_t start, end; /* INT64_MIN, INT64_MAX: no limit */
    int64_t offset;     /* seconds east of UTC */
};

struct zone_span zone_span(const struct zone *zone, int64_t at);
