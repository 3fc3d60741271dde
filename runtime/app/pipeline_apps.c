/* The stages that need no Lua in this process: pages and their folders, and worker processes. */
#include <string.h>

#include "app/apps.h"
#include "app/pipeline_impl.h"
#include "app/target.h"
#include "conf/manifest.h"
#include "data/files.h"
#include "data/metrics.h"
#include "http/static.h"
#include "plugin/generation.h"
#include "worker/app.h"
#include "worker/pool.h"
#include "worker/registry.h"

static void looked(bool answered, void *arg)
{
    struct run *run = arg;

    run->look = NULL;
    run->outcome = answered ? ANSWERED : NEXT;
    run_step(run);
}

/* A page and its folder, without any Lua. */
static enum outcome serve_site(struct run *run, const struct manifest *manifest, const char *base)
{
    static const struct file_opener opener = {files_root, files_open, files_open_cached};
    const struct static_site site = {.opener = &opener,
                                     .dir = manifest->dir,
                                     .entry = manifest->entrypoint,
                                     .base = base,
                                     .gzip = run->server->gzip};
    bool answered;

    run->look = static_look_start(run->server->loop, &site, run->x, looked, run, &answered);
    run->series = metrics_route(run->server->metrics, manifest->name, STR(""), STR("(static)"));
    if (run->look)
        return WAIT;
    return answered ? ANSWERED : NEXT;
}

static void worked(bool answered, void *arg)
{
    struct run *run = arg;

    run->worker = NULL;
    run->outcome = answered ? ANSWERED : NEXT;
    if (answered)
        exchange_res_set_header(run->x, STR("x-base"), exchange_header(run->x, STR("x-base")));
    run_step(run);
}

/* `strip` bytes of the path are the app's base, which it is told in X-Base. */
static enum outcome ask_worker(struct run *run, struct app *app, size_t strip)
{
    const struct str base = {exchange_path(run->x).at, strip};

    exchange_set_header(run->x, STR("x-base"), strip > 0 ? base : STR("/"));
    run->series = metrics_route(run->server->metrics, app->name, STR(""), STR("(worker)"));
    run->worker = pool_call(run->server->pool, app, run->x, strip, worked, run);
    return WAIT;
}

/* The app of a plugin, at `base`. */
static enum outcome serve_app(struct run *run, const struct instance *in, const char *base)
{
    if (!in->app && !in->manifest->entrypoint_is_html)
        return NEXT;
    run_answered_by(run, in, in->app ? BIND_WORKER : BIND_STATIC);
    if (!apps_admit(run->server, in->manifest, run->x))
        return ANSWERED;
    return in->app ? ask_worker(run, in->app, strlen(base)) : serve_site(run, in->manifest, base);
}

enum outcome stage_plugin_apps(struct run *run)
{
    const struct instance *in = generation_by_base(run->generation, exchange_path(run->x));

    return in ? serve_app(run, in, in->manifest->base) : NEXT;
}

/* The app of when the request began; if a reload has taken that away meanwhile, while a hook
 * waited, its files are gone with it, so the one of now.
 */
static struct app *current_app(struct run *run, struct str path, size_t *base_len)
{
    struct app *app = app_set_find(run->apps, path, base_len);

    if (!app || !app->retired)
        return app;
    app_set_unref(run->apps);
    run->apps = app_set_ref(registry_set(run->server->registry));
    return app_set_find(run->apps, path, base_len);
}

enum outcome stage_worker_apps(struct run *run)
{
    const struct str path = exchange_path(run->x);
    size_t base_len;
    struct app *app = current_app(run, path, &base_len);
    char *base;

    if (!app)
        return NEXT;
    target_set_app(app, (struct str){path.at, base_len}, &run->by);
    if (!apps_admit(run->server, app->manifest, run->x))
        return ANSWERED;
    if (path.len == base_len) {
        apps_respond_slash(run->x);
        return ANSWERED;
    }
    if (!app->manifest->entrypoint_is_html)
        return ask_worker(run, app, base_len);
    base = exchange_alloc(run->x, base_len + 1);
    memcpy(base, path.at, base_len);
    return serve_site(run, app->manifest, base);
}

/* "/" comes last, so that its page does not stand in front of every app. */
enum outcome stage_root_app(struct run *run)
{
    const struct instance *in = run->generation->root;

    return in ? serve_app(run, in, "") : NEXT;
}
