#include "plugin/generation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/manifest.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"

static size_t pick(const struct generation *g, enum entry entry, struct instance ***out)
{
    size_t count = 0;

    *out = mem_alloc((g->len + 1) * sizeof(**out));
    for (size_t i = 0; i < g->len; i++) {
        if (instance_has(g->instances[i], entry))
            (*out)[count++] = g->instances[i];
    }
    return count;
}

static int by_base(const void *a, const void *b)
{
    const struct instance *const *x = a, *const *y = b;

    return strcmp((*x)->manifest->base, (*y)->manifest->base);
}

static void index_bases(struct generation *g)
{
    g->bases = mem_alloc((g->len + 1) * sizeof(*g->bases));
    for (size_t i = 0; i < g->len; i++) {
        const char *base = g->instances[i]->manifest->base;
        if (!base)
            continue;
        if (strcmp(base, "/") == 0)
            g->root = g->instances[i];
        else
            g->bases[g->base_count++] = g->instances[i];
    }
    qsort(g->bases, g->base_count, sizeof(*g->bases), by_base);
}

struct generation *generation_new(struct plugins *plugins,
                                  uint64_t number,
                                  struct instance *const *instances,
                                  size_t len)
{
    struct generation *g = mem_alloc(sizeof(*g));

    g->plugins = plugins;
    g->number = number;
    g->refs = 1;
    g->len = len;
    g->instances = mem_alloc((len + 1) * sizeof(*g->instances));
    for (size_t i = 0; i < len; i++) {
        g->instances[i] = instance_ref(instances[i]);
        instances[i]->generations++;
    }
    g->request_hook_count = pick(g, ENTRY_REQUEST_HOOK, &g->request_hooks);
    g->response_hook_count = pick(g, ENTRY_RESPONSE_HOOK, &g->response_hooks);
    g->server_route_count = pick(g, ENTRY_SERVER_ROUTES, &g->server_routes);
    g->server_fetch_count = pick(g, ENTRY_SERVER_FETCH, &g->server_fetches);
    index_bases(g);
    return g;
}

struct generation *generation_ref(struct generation *generation)
{
    generation->refs++;
    return generation;
}

void generation_unref(struct generation *g)
{
    if (!g || --g->refs > 0)
        return;
    for (size_t i = 0; i < g->len; i++) {
        if (--g->instances[i]->generations == 0)
            plugins_drained(g->plugins, g->instances[i]);
        instance_unref(g->instances[i]);
    }
    free(g->instances);
    free(g->request_hooks);
    free(g->response_hooks);
    free(g->server_routes);
    free(g->server_fetches);
    free(g->bases);
    free(g);
}

static int compare(struct str segment, const char *base)
{
    const int order = strncmp(segment.at, base, segment.len);

    return order ? order : (base[segment.len] ? -1 : 0);
}

struct instance *generation_by_base(const struct generation *g, struct str path)
{
    const char *slash = path.len > 1 ? memchr(path.at + 1, '/', path.len - 1) : NULL;
    const struct str segment = {path.at, slash ? (size_t)(slash - path.at) : path.len};
    size_t low = 0, high = g->base_count;

    while (low < high) {
        const size_t mid = (low + high) / 2;
        const int order = compare(segment, g->bases[mid]->manifest->base);
        if (order == 0)
            return g->bases[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

struct instance *generation_by_name(const struct generation *g, const char *name)
{
    for (size_t i = 0; i < g->len; i++) {
        if (strcmp(g->instances[i]->name, name) == 0)
            return g->instances[i];
    }
    return NULL;
}
