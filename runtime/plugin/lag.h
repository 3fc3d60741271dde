/* How often, and how long at most, something held the loop. The caller owns the struct; `{0}` is
 * empty.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lag_stats {
    uint64_t count, max_ms, total_ms;
    struct {
        uint64_t ms;
        char file[ERR_FILE_MAX]; /* "": not known */
        unsigned line;
    } last;
    uint64_t told_ms; /* when it was logged, in the loop's time; 0: never */
    uint64_t silent;  /* how many were not logged since */
};

/* Counts one. True when it is time to log, which is at most every ten seconds; then `*silent` is
 * how many were passed over before.
 */
bool lag_add(struct lag_stats *stats,
             uint64_t ms,
             const char *file,
             unsigned line,
             uint64_t now_ms,
             uint64_t *silent);
