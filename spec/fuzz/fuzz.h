/* What the fuzz targets share: saying what must hold, and inputs cut into their parts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool ok)
{
    if (!ok)
        abort();
}

/* A copy no longer than the text, so that ASan sees an overrun. Freed by the caller. */
static inline char *exact_copy(struct str s)
{
    char *copy = malloc(s.len ? s.len : 1);

    require(copy != NULL);
    if (s.len)
        memcpy(copy, s.at, s.len);
    return copy;
}

/* Takes what is before the next `end` off the front of `rest`, or all of it. */
static inline struct str take_until(struct str *rest, char end)
{
    const char *stop = rest->len ? memchr(rest->at, end, rest->len) : NULL;
    const struct str part = {rest->at, stop ? (size_t)(stop - rest->at) : rest->len};
    const size_t used = part.len + (stop ? 1 : 0);

    *rest = (struct str){rest->at + used, rest->len - used};
    return part;
}
