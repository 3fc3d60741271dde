/* How often each plugin took the server down of late. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/blackbox.h"

enum { STRIKES_OUT = 3, STRIKES_WITHIN_MS = 60000, STRIKES_PLUGINS = 64 };

struct strikes {
    struct {
        struct box_plugin plugin;
        uint64_t at[STRIKES_OUT]; /* the last ones, newest first; 0: none */
    } items[STRIKES_PLUGINS];
};

/* Counts one more at `now_ms` (not 0). True: it is the third within a minute. */
bool strikes_add(struct strikes *strikes, const struct box_plugin *plugin, uint64_t now_ms);
