#include <string.h>

#include "app/pipeline_impl.h"
#include "app/target.h"
#include "conf/manifest.h"
#include "plugin/generation.h"
#include "plugin/plugins.h"

bool path_below(struct str path, const char *prefix, const char *rest)
{
    const size_t a = strlen(prefix), b = strlen(rest);

    return path.len >= a + b && memcmp(path.at, prefix, a) == 0 &&
           memcmp(path.at + a, rest, b) == 0 && (path.len == a + b || path.at[a + b] == '/');
}

/* The control plane and discovery: its own VM, and no plugin sees it. */
enum outcome stage_control_plane(struct run *run)
{
    const struct str path = exchange_path(run->x);
    const size_t prefix = strlen(run->server->settings->api_prefix);

    if (run->generation)
        return NEXT;
    return run_call(run, run->server->control, ENTRY_ROUTES,
                    str_starts(path, STR("/.well-known/")) ? 0 : prefix, false);
}

/* The limit of who answers; the listener let in what the most generous one takes. */
enum outcome stage_body_limit(struct run *run)
{
    struct bind_target target;
    size_t limit = run->server->settings->body_limit;

    if (exchange_body(run->x).len == 0)
        return NEXT;
    target = run_target(run);
    if (target_manifest(&target) && target_manifest(&target)->max_body_size)
        limit = target_manifest(&target)->max_body_size;
    if (exchange_body(run->x).len <= limit)
        return NEXT;
    exchange_respond_error(run->x, 413, "BODY_TOO_LARGE", "The request body is too large", NULL);
    return ANSWERED;
}

enum outcome stage_request_hooks(struct run *run)
{
    const struct generation *g = run->generation;

    while (run->index < g->request_hook_count) {
        struct instance *in = g->request_hooks[run->index++];
        if (in->hook_public || !target_is_public(run->generation, run->apps, run->x))
            return run_call(run, in, ENTRY_REQUEST_HOOK, 0, true);
    }
    return NEXT;
}

enum outcome stage_server_routes(struct run *run)
{
    const struct generation *g = run->generation;

    if (run->index >= g->server_route_count)
        return NEXT;
    return run_call(run, g->server_routes[run->index++], ENTRY_SERVER_ROUTES, 0, false);
}

enum outcome stage_server_fetch(struct run *run)
{
    const struct generation *g = run->generation;

    if (run->index >= g->server_fetch_count)
        return NEXT;
    return run_call(run, g->server_fetches[run->index++], ENTRY_SERVER_FETCH, 0, false);
}

enum outcome stage_plugin_routes(struct run *run)
{
    struct instance *in = generation_by_base(run->generation, exchange_path(run->x));

    if (!in || !instance_has(in, ENTRY_ROUTES))
        return NEXT;
    return run_call(run, in, ENTRY_ROUTES, strlen(in->manifest->base), false);
}

enum outcome stage_root_routes(struct run *run)
{
    struct instance *in = run->generation->root;

    if (!in || !instance_has(in, ENTRY_ROUTES))
        return NEXT;
    return run_call(run, in, ENTRY_ROUTES, 0, false);
}

/* A critical plugin that is not loaded answers 503 at its base, not 404. */
static bool is_missing_critical(struct run *run)
{
    const struct str path = exchange_path(run->x);

    for (struct plugin *p = plugins_first(run->server->plugins); p; p = p->next) {
        if (p->live || !p->manifest || !p->manifest->critical || !p->base || !p->enabled)
            continue;
        if (strcmp(p->base, "/") == 0 || path_below(path, p->base, ""))
            return true;
    }
    return false;
}

enum outcome stage_not_found(struct run *run)
{
    run->by = (struct bind_target){.in = NULL};
    run->series = NULL;
    if (is_missing_critical(run))
        exchange_respond_error(run->x, 503, "PLUGIN_NOT_LOADED",
                               "The plugin that answers here is not loaded", NULL);
    else
        exchange_respond_error(run->x, 404, "NOT_FOUND", "Nothing answers here", NULL);
    return ANSWERED;
}

enum outcome stage_response_hooks(struct run *run)
{
    const struct generation *g = run->generation;

    if (run->index >= g->response_hook_count)
        return NEXT;
    return run_call(run, g->response_hooks[run->index++], ENTRY_RESPONSE_HOOK, 0, true);
}
