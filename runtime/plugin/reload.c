#include "plugin/reload.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/manifest.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plan.h"
#include "plugin/reload_impl.h"

/* --- the answer --- */

static size_t fill_items(struct reload *reload, struct reload_item *items)
{
    size_t len = 0;

    for (size_t i = 0; i < reload->plan.len; i++) {
        const struct candidate *c = &reload->plan.items[i];
        const struct instance *instance = plan_instance(c);
        if (c->untouched)
            continue;
        items[len++] = (struct reload_item){
            .name = c->manifest ? c->manifest->name
                    : c->plugin ? c->plugin->name
                                : c->dir,
            .path = c->dir,
            .version = c->manifest ? c->manifest->version : NULL,
            .base = c->manifest ? c->manifest->base : NULL,
            .status = c->status,
            .init_ms = instance && c->action == ACTION_BUILD ? instance->build_ms : 0,
            .err = c->err,
        };
    }
    return len;
}

static size_t fill_removed(struct reload *reload, struct reload_item *items)
{
    for (size_t i = 0; i < reload->plan.removed_len; i++) {
        const struct plugin *p = reload->plan.removed[i];
        items[i] = (struct reload_item){.name = p->name,
                                        .path = p->dir,
                                        .version = p->version,
                                        .base = p->base,
                                        .status = PLUGIN_REMOVED};
    }
    return reload->plan.removed_len;
}

static bool came_through(const struct reload_item *items, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const enum plugin_status status = items[i].status;
        if (status == PLUGIN_KEPT_OLD || status == PLUGIN_FAILED || status == PLUGIN_SKIPPED ||
            status == PLUGIN_QUARANTINED)
            return false;
    }
    return true;
}

const struct reload_apps *reload_apps_of(const struct reload *reload)
{
    return reload->plugins->options.apps;
}

bool reload_apps_ok(const struct reload *reload)
{
    return !reload->apps || reload_apps_of(reload)->ok(reload->apps);
}

static void drop_apps(struct reload *reload)
{
    if (reload->apps)
        reload_apps_of(reload)->drop(reload->apps);
    reload->apps = NULL;
}

static void count(struct reload_counts *counts, const struct reload_result *result)
{
    if (result->rejected)
        counts->rejected++;
    else if (result->ok)
        counts->ok++;
    else
        counts->partial++;
    counts->last_ms = result->duration_ms;
}

static void tell_waiters(struct reload *reload, const struct reload_result *result)
{
    while (reload->waiters) {
        struct waiter *waiter = reload->waiters;
        reload->waiters = waiter->next;
        if (waiter->done)
            waiter->done(waiter->arg, result);
        free(waiter);
    }
}

static void start_next(struct plugins *plugins);

static void free_reload(struct reload *reload)
{
    plan_fini(&reload->plan);
    drop_apps(reload);
    free(reload->only);
    free(reload->staged);
    free(reload->staged_at);
    free(reload);
}

void reload_finish(struct reload *reload)
{
    struct plugins *plugins = reload->plugins;
    const struct plan *plan = &reload->plan;
    struct reload_item *items = mem_alloc((plan->len + plan->removed_len + 1) * sizeof(*items));
    struct reload_result result = {.rejected = reload->rejected, .items = items};

    timer_stop(&reload->settle);
    result.len = fill_items(reload, items);
    result.unknown = reload->options.only && result.len == 0;
    result.len += fill_removed(reload, items + result.len);
    result.ok = came_through(items, result.len) && !result.unknown && reload_apps_ok(reload);
    result.apps = reload->apps;
    result.generation = plugins->generation ? plugins->generation->number : 0;
    result.duration_ms = clock_now_ns() / 1000000 - reload->started_ms;
    result.leaks = plugins->leaks;
    result.leak_count = plugins->leak_count;
    if (!reload->options.dry_run)
        count(&plugins->counts, &result);
    tell_waiters(reload, &result);
    free(items);
    if (!reload->rejected && !reload->options.dry_run)
        reload_forget_removed(reload);
    plugins_forget_leaks(plugins);
    plugins->reloads = reload->next;
    free_reload(reload);
    start_next(plugins);
}

/* --- the queue --- */

static void start(struct post *post)
{
    struct reload *reload = (struct reload *)((char *)post - offsetof(struct reload, post));
    const struct plugins_options *options = &reload->plugins->options;

    if (options->before_reload)
        options->before_reload(options->app);
    reload->started_ms = clock_now_ns() / 1000000;
    plan_make(&reload->plan, reload->plugins, &reload->options);
    if (options->apps && !reload->options.only)
        reload->apps = options->apps->scan(options->app, reload->options.dry_run);
    reload_build_next(post);
}

static void grant(struct post *post)
{
    struct reload *reload = (struct reload *)((char *)post - offsetof(struct reload, post));
    struct reload_hold *hold = reload->held;
    void (*granted)(void *arg) = hold->granted;

    hold->granted = NULL;
    if (granted)
        granted(hold->arg);
}

static void start_next(struct plugins *plugins)
{
    struct reload *reload = plugins->reloads;

    if (!reload)
        return;
    reload->post.run = reload->held ? grant : start;
    loop_post(plugins->options.loop, &reload->post);
}

static bool same_request(const struct reload_options *a, const struct reload_options *b)
{
    const bool same_only =
        (!a->only && !b->only) || (a->only && b->only && !strcmp(a->only, b->only));

    return same_only && !a->staged && !b->staged && a->changed == b->changed &&
           a->strict == b->strict && a->dry_run == b->dry_run;
}

static void add_waiter(struct reload *reload, reload_done *done, void *arg)
{
    struct waiter **at = &reload->waiters;

    while (*at)
        at = &(*at)->next;
    *at = mem_alloc(sizeof(**at));
    (*at)->done = done;
    (*at)->arg = arg;
}

static struct reload *new_reload(struct plugins *plugins, const struct reload_options *options)
{
    struct reload *reload = mem_alloc(sizeof(*reload));

    reload->plugins = plugins;
    reload->options = *options;
    reload->options.only = reload->only = mem_copy(options->only);
    reload->options.staged = reload->staged = mem_copy(options->staged);
    reload->options.staged_at = reload->staged_at = mem_copy(options->staged_at);
    return reload;
}

/* At the end, or, inside a hold, in front of it. */
static void enqueue(struct reload *reload)
{
    struct plugins *plugins = reload->plugins;
    struct reload **at = &plugins->reloads;
    const struct reload_hold *hold = reload->options.hold;

    while (*at && (!hold || *at != hold->queued))
        at = &(*at)->next;
    reload->next = *at;
    *at = reload;
    if (plugins->reloads == reload)
        start_next(plugins);
}

static bool may_join(const struct reload *waiting, const struct reload_options *options)
{
    return !waiting->held && !waiting->options.hold && !options->hold &&
           same_request(&waiting->options, options);
}

void plugins_reload(struct plugins *plugins,
                    const struct reload_options *options,
                    reload_done *done,
                    void *arg)
{
    struct reload *reload = plugins->reloads;

    /* The first one is running already and may have read what has changed since. */
    for (reload = reload ? reload->next : NULL; reload; reload = reload->next) {
        if (may_join(reload, options)) {
            add_waiter(reload, done, arg);
            return;
        }
    }
    reload = new_reload(plugins, options);
    add_waiter(reload, done, arg);
    enqueue(reload);
}

struct reload_hold *plugins_hold(struct plugins *plugins, void (*granted)(void *arg), void *arg)
{
    const struct reload_options none = {.only = NULL};
    struct reload_hold *hold = mem_alloc(sizeof(*hold));

    hold->granted = granted;
    hold->arg = arg;
    hold->queued = new_reload(plugins, &none);
    hold->queued->held = hold;
    enqueue(hold->queued);
    return hold;
}

void plugins_release(struct reload_hold *hold)
{
    struct reload *reload = hold ? hold->queued : NULL;
    struct reload **at;
    bool first;

    free(hold);
    if (!reload)
        return;
    at = &reload->plugins->reloads;
    first = *at == reload;
    while (*at != reload)
        at = &(*at)->next;
    *at = reload->next;
    loop_unpost(reload->plugins->options.loop, &reload->post);
    if (first)
        start_next(reload->plugins);
    free_reload(reload);
}

void plugins_reload_forget(struct plugins *plugins, const void *arg)
{
    for (struct reload *reload = plugins->reloads; reload; reload = reload->next) {
        for (struct waiter *waiter = reload->waiters; waiter; waiter = waiter->next) {
            if (waiter->arg == arg)
                waiter->done = NULL;
        }
    }
}

bool plugins_reloading(const struct plugins *plugins)
{
    return plugins->reloads != NULL;
}

void reloads_free(struct plugins *plugins)
{
    while (plugins->reloads) {
        struct reload *reload = plugins->reloads;
        plugins->reloads = reload->next;
        loop_unpost(plugins->options.loop, &reload->post);
        timer_stop(&reload->settle);
        while (reload->waiters) {
            struct waiter *waiter = reload->waiters;
            reload->waiters = waiter->next;
            free(waiter);
        }
        if (reload->held)
            reload->held->queued = NULL;
        free_reload(reload);
    }
}
