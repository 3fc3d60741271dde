#include "app/target.h"

#include "app/public_path.h"
#include "conf/manifest.h"
#include "http/exchange.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "worker/app.h"
#include "worker/app_set.h"

static struct str take_segment(struct str *rest)
{
    const char *slash = memchr(rest->at, '/', rest->len);
    const struct str segment = {rest->at, slash ? (size_t)(slash - rest->at) : rest->len};
    const size_t used = slash ? segment.len + 1 : segment.len;

    rest->at += used;
    rest->len -= used;
    return segment;
}

/* Whether a key of server.routes may match: what the plugin's own router will decide in full. */
static bool may_match(struct str pattern, struct str path)
{
    while (pattern.len > 0) {
        const struct str want = take_segment(&pattern);
        struct str got;
        if (want.len > 0 && want.at[0] == '*' && pattern.len == 0)
            return true;
        if (path.len == 0 && want.len > 0 && want.at[want.len - 1] == '?' && pattern.len == 0)
            return true;
        got = take_segment(&path);
        if (want.len > 0 && (want.at[0] == ':' || want.at[0] == '*') && got.len > 0)
            continue;
        if (!str_equal(want, got))
            return false;
    }
    return path.len == 0;
}

static const struct instance *by_server_path(const struct generation *g, struct str path)
{
    for (size_t i = 0; i < g->server_route_count; i++) {
        const struct instance *in = g->server_routes[i];
        for (size_t k = 0; k < in->server_path_count; k++) {
            if (may_match(str_of(in->server_paths[k]), path))
                return in;
        }
    }
    return NULL;
}

/* A plugin with routes answers by them first, and by its app what they do not know. */
static enum bind_kind kind_of(const struct instance *in)
{
    if (instance_has(in, ENTRY_ROUTES) || !in->manifest->entrypoint)
        return BIND_PLUGIN;
    return in->manifest->entrypoint_is_html ? BIND_STATIC : BIND_WORKER;
}

void target_set_app(const struct app *app, struct str base, struct bind_target *target)
{
    *target = (struct bind_target){
        .app = app,
        .base = base,
        .kind = app->manifest->entrypoint_is_html ? BIND_STATIC : BIND_WORKER,
    };
}

void target_find(const struct generation *generation,
                 const struct app_set *apps,
                 const struct exchange *x,
                 struct bind_target *target)
{
    const struct str path = exchange_path(x);
    const struct instance *in = by_server_path(generation, path);
    const struct app *app;
    size_t base_len;

    *target = (struct bind_target){.in = in, .kind = BIND_PLUGIN};
    if (in)
        return;
    in = generation_by_base(generation, path);
    app = in ? NULL : app_set_find(apps, path, &base_len);
    if (app) {
        target_set_app(app, (struct str){path.at, base_len}, target);
        return;
    }
    target->in = in ? in : generation->root;
    if (target->in)
        target->kind = kind_of(target->in);
}

const struct manifest *target_manifest(const struct bind_target *target)
{
    if (target->app)
        return target->app->manifest;
    return target->in ? target->in->manifest : NULL;
}

/* --- public routes --- */

static bool lists_public(const struct manifest *manifest, struct str method, struct str path)
{
    for (size_t i = 0; i < manifest->public_route_count; i++) {
        const struct public_route *route = &manifest->public_routes[i];
        if (*route->method && !str_equal_nocase(str_of(route->method), method))
            continue;
        if (public_path_matches(str_of(route->pattern), path))
            return true;
    }
    return false;
}

/* The routes of an app are relative to it. */
static struct str below_base(struct str path, struct str base)
{
    if (path.len == base.len)
        return STR("/");
    return (struct str){path.at + base.len, path.len - base.len};
}

bool target_is_public(const struct generation *generation,
                      const struct app_set *apps,
                      const struct exchange *x)
{
    const struct str method = exchange_method(x), path = exchange_path(x);
    struct bind_target target;

    target_find(generation, apps, x, &target);
    if (target.app)
        return lists_public(target.app->manifest, method, below_base(path, target.base));
    if (target.in)
        return lists_public(target.in->manifest, method, path);
    for (size_t i = 0; i < generation->server_fetch_count; i++) {
        if (lists_public(generation->server_fetches[i]->manifest, method, path))
            return true;
    }
    return false;
}
