#include "app/strikes.h"

#include <string.h>

static bool is_same(const struct box_plugin *a, const struct box_plugin *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->digest, b->digest) == 0;
}

/* The plugin's own place, or the one that was not used for longest. */
static size_t place_of(const struct strikes *strikes, const struct box_plugin *plugin)
{
    size_t oldest = 0;

    for (size_t i = 0; i < STRIKES_PLUGINS; i++) {
        if (is_same(&strikes->items[i].plugin, plugin))
            return i;
        if (strikes->items[i].at[0] < strikes->items[oldest].at[0])
            oldest = i;
    }
    return oldest;
}

bool strikes_add(struct strikes *strikes, const struct box_plugin *plugin, uint64_t now_ms)
{
    const size_t i = place_of(strikes, plugin);
    uint64_t *at = strikes->items[i].at;

    if (!is_same(&strikes->items[i].plugin, plugin)) {
        strikes->items[i].plugin = *plugin;
        memset(at, 0, sizeof(strikes->items[i].at));
    }
    memmove(&at[1], &at[0], sizeof(*at) * (STRIKES_OUT - 1));
    at[0] = now_ms;
    return at[STRIKES_OUT - 1] != 0 && now_ms - at[STRIKES_OUT - 1] < STRIKES_WITHIN_MS;
}
