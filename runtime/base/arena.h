/* Memory that is freed all at once: a manifest, a configuration.
 *
 * The caller owns the struct; `{0}` is an empty arena. What it hands out lives until
 * arena_fini(); single pieces cannot be given back.
 */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    char *at;
    size_t left;
};

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for anything */
char *arena_copy(struct arena *arena, struct str s); /* NUL-terminated */
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_fini(struct arena *arena);
