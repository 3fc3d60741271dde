#include "plugin/lag.h"

#include <stdio.h>

enum { TELL_EVERY_MS = 10000 };

bool lag_add(struct lag_stats *stats,
             uint64_t ms,
             const char *file,
             unsigned line,
             uint64_t now_ms,
             uint64_t *silent)
{
    stats->count++;
    stats->total_ms += ms;
    if (ms > stats->max_ms)
        stats->max_ms = ms;
    stats->last.ms = ms;
    stats->last.line = line;
    snprintf(stats->last.file, sizeof(stats->last.file), "%s", file);
    if (stats->told_ms && now_ms - stats->told_ms < TELL_EVERY_MS) {
        stats->silent++;
        return false;
    }
    *silent = stats->silent;
    stats->silent = 0;
    stats->told_ms = now_ms ? now_ms : 1;
    return true;
}
