/* What holds the loop: plugin code that the watchdog tells of, and everything else, by a timer that
 * comes late. Each is counted and, not too often, logged as a warning.
 */
#pragma once

#include <stdint.h>

#include "ev/loop.h"
#include "plugin/lag.h"

struct lag;
struct server;

struct lag_meter {
    struct timer timer; /* first: fires back */
    struct server *server;
    uint64_t due_ms;
    bool stopped;
    bool explained;         /* by plugin code, since the timer was set */
    struct lag_stats other; /* no plugin's */
};

/* For the watchdog; `arg` is the server. */
void lag_told(void *arg, const struct lag *lag);

/* Measures from now on, unless RUNTIME_LAG_WARN is 0. */
void lag_meter_start(struct lag_meter *meter, struct server *server);
void lag_meter_stop(struct lag_meter *meter);
