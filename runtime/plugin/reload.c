#include "plugin/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/problems.h"
#include "conf/settings.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plan.h"
#include "plugin/plugins_impl.h"
#include "plugin/service.h"
#include "plugin/sources.h"
#include "vm/vm.h"

enum { SETTLE_MS = 500 }; /* how long an answer waits for replaced instances to end */

struct waiter {
    reload_done *done;
    void *arg;
    struct waiter *next;
};

/* Stands in the queue as a reload of its own. It is its holder's; `queued` is NULL once the plugins
 * are gone.
 */
struct reload_hold {
    struct reload *queued;
    void (*granted)(void *arg); /* NULL: it was called */
    void *arg;
};

struct reload {
    struct plugins *plugins;
    struct reload_options options;
    char *only, *staged, *staged_at;
    struct reload_hold *held; /* no reload, but the place of this in the queue */
    struct waiter *waiters;
    struct plan plan;
    struct registry_scan *apps; /* or NULL */
    size_t at;                  /* the next of plan.order to build */
    uint64_t started_ms;
    bool rejected, settling;
    struct post post;
    struct timer settle;
    struct reload *next;
};

static struct candidate *current(struct reload *reload)
{
    return &reload->plan.items[reload->plan.order[reload->at]];
}

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

static const struct reload_apps *apps_of(const struct reload *reload)
{
    return reload->plugins->options.apps;
}

static bool apps_ok(const struct reload *reload)
{
    return !reload->apps || apps_of(reload)->ok(reload->apps);
}

static void drop_apps(struct reload *reload)
{
    if (reload->apps)
        apps_of(reload)->drop(reload->apps);
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

static void forget_removed(struct reload *reload);
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

/* Tells everyone, then makes way for the next reload. */
static void finish(struct reload *reload)
{
    struct plugins *plugins = reload->plugins;
    const struct plan *plan = &reload->plan;
    struct reload_item *items = mem_alloc((plan->len + plan->removed_len + 1) * sizeof(*items));
    struct reload_result result = {.rejected = reload->rejected, .items = items};

    timer_stop(&reload->settle);
    result.len = fill_items(reload, items);
    result.unknown = reload->options.only && result.len == 0;
    result.len += fill_removed(reload, items + result.len);
    result.ok = came_through(items, result.len) && !result.unknown && apps_ok(reload);
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
        forget_removed(reload);
    plugins_forget_leaks(plugins);
    plugins->reloads = reload->next;
    free_reload(reload);
    start_next(plugins);
}

/* --- commit --- */

static char *folder_name(const char *dir)
{
    const char *slash = strrchr(dir, '/');

    return mem_copy(slash ? slash + 1 : dir);
}

static void replace(char **text, char *with)
{
    free(*text);
    *text = with;
}

static struct plugin *record_for(struct candidate *c)
{
    if (!c->plugin) {
        c->plugin = mem_alloc(sizeof(*c->plugin));
        c->plugin->refs = 1;
        c->plugin->dir = mem_copy(c->dir);
        c->plugin->name = folder_name(c->dir);
    }
    return c->plugin;
}

static void keep_err(struct plugin *plugin, const struct candidate *c)
{
    free(plugin->err);
    plugin->err = NULL;
    if (!c->err)
        return;
    plugin->err = mem_alloc(sizeof(*plugin->err));
    *plugin->err = *c->err;
    if (!c->untouched)
        faults_add(&plugin->faults, c->err, "load", NULL);
}

static void update_record(struct candidate *c)
{
    struct plugin *plugin = record_for(c);

    plugin->builtin = c->builtin;
    plugin->status = c->status;
    plugin->enabled = c->status != PLUGIN_DISABLED;
    memcpy(plugin->digest, c->digest, sizeof(plugin->digest));
    keep_err(plugin, c);
    if (c->manifest) {
        struct manifest *manifest = manifest_ref(c->manifest);
        if (plugin->manifest)
            manifest_unref(plugin->manifest);
        plugin->manifest = manifest;
        replace(&plugin->name, mem_copy(manifest->name));
        replace(&plugin->version, mem_copy(manifest->version));
        replace(&plugin->base, mem_copy(manifest->base));
    }
}

/* The list of records becomes the order of discovery; the removed ones go at the end until the
 * answer was told.
 */
static void relink(struct reload *reload)
{
    struct plugin **at = &reload->plugins->first;
    const struct plan *plan = &reload->plan;

    if (reload->options.only)
        return;
    for (size_t i = 0; i < plan->len; i++) {
        *at = plan->items[i].plugin;
        at = &plan->items[i].plugin->next;
    }
    for (size_t i = 0; i < plan->removed_len; i++) {
        plan->removed[i]->status = PLUGIN_REMOVED;
        plan->removed[i]->live = NULL;
        *at = plan->removed[i];
        at = &plan->removed[i]->next;
    }
    *at = NULL;
}

static void forget_removed(struct reload *reload)
{
    struct plan *plan = &reload->plan;

    for (size_t i = 0; i < plan->removed_len; i++) {
        struct plugin **at = &reload->plugins->first;
        while (*at && *at != plan->removed[i])
            at = &(*at)->next;
        if (*at)
            *at = plan->removed[i]->next;
        plugin_unref(plan->removed[i]);
    }
}

static bool is_new_set(const struct reload *reload, struct instance *const *instances, size_t len)
{
    const struct generation *g = reload->plugins->generation;

    if (!g || g->len != len)
        return true;
    for (size_t i = 0; i < len; i++) {
        if (g->instances[i] != instances[i])
            return true;
    }
    return false;
}

static void swap(struct reload *reload)
{
    struct plan *plan = &reload->plan;
    struct instance **instances = mem_alloc((plan->len + 1) * sizeof(*instances));
    size_t len = 0;

    for (size_t i = 0; i < plan->order_len; i++) {
        struct instance *instance = plan_instance(&plan->items[plan->order[i]]);
        if (instance)
            instances[len++] = instance;
    }
    if (is_new_set(reload, instances, len))
        plugins_swap(reload->plugins, instances, len);
    free(instances);
}

static void settled(struct timer *timer)
{
    finish((struct reload *)((char *)timer - offsetof(struct reload, settle)));
}

static void settle(struct reload *reload)
{
    reload->settling = true;
    reload->settle.fire = settled;
    timer_start(reload->plugins->options.loop, &reload->settle,
                plugins_closing(reload->plugins) ? SETTLE_MS : 0);
}

void reload_settle(struct plugins *plugins)
{
    struct reload *reload = plugins->reloads;

    if (reload && reload->settling && plugins_closing(plugins) == 0)
        timer_start(plugins->options.loop, &reload->settle, 0);
}

static void clear_pending(struct reload *reload)
{
    for (size_t i = 0; i < reload->plan.len; i++) {
        struct instance *fresh = reload->plan.items[i].fresh;
        if (fresh && fresh->service)
            fresh->service->pending = NULL;
    }
}

/* An instance that was built and is not going to be used: its onShutdown is due. */
static void discarded(struct instance *instance, const struct err *err, void *arg)
{
    (void)arg;
    if (err)
        plugins_fault(instance, err, "onShutdown", NULL);
    instance_unref(instance);
}

static void discard(struct reload *reload, struct candidate *c)
{
    struct instance *fresh = c->fresh;

    if (!fresh)
        return;
    c->fresh = NULL;
    if (fresh->service && fresh->service->pending == fresh)
        fresh->service->pending = NULL;
    instance_shutdown(fresh, reload->plugins->options.settings->init_timeout, discarded, NULL);
}

static void reject(struct reload *reload)
{
    reload->rejected = true;
    for (size_t i = 0; i < reload->plan.len; i++)
        discard(reload, &reload->plan.items[i]);
    settle(reload);
}

/* The server is shutting down: what is live is ending already and must not end twice. */
static void give_up(struct reload *reload)
{
    reload->rejected = true;
    clear_pending(reload);
    finish(reload);
}

static void commit(struct reload *reload)
{
    struct plan *plan = &reload->plan;

    for (size_t i = 0; i < plan->len; i++) {
        struct candidate *c = &plan->items[i];
        if (c->action != ACTION_BUILD)
            discard(reload, c);
        update_record(c);
        c->plugin->live = plan_instance(c);
        if (c->plugin->live)
            instance_set_plugin(c->plugin->live, c->plugin);
    }
    relink(reload);
    clear_pending(reload);
    swap(reload);
    if (reload->apps)
        apps_of(reload)->commit(reload->plugins->options.app, reload->apps);
    settle(reload);
}

/* --- building --- */

static bool any_failed(const struct plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        const struct candidate *c = &plan->items[i];
        if (!c->untouched && c->err)
            return true;
    }
    return false;
}

/* Failures while building may have taken a base back or a dependency away. */
static void all_built(struct reload *reload)
{
    struct plan *plan = &reload->plan;

    while (plan_settle_bases(plan))
        plan_order(plan);
    plan_order(plan);
    if (reload->options.dry_run)
        finish(reload);
    else if (reload->plugins->shutdown_deadline)
        give_up(reload);
    else if (reload->options.strict && (any_failed(plan) || !apps_ok(reload)))
        reject(reload);
    else
        commit(reload);
}

static void build_next(struct post *post);

static void go_on(struct reload *reload)
{
    reload->at++;
    reload->post.run = build_next;
    loop_post(reload->plugins->options.loop, &reload->post);
}

static void built(struct instance *instance, const struct err *err, void *arg)
{
    struct reload *reload = arg;
    struct candidate *c = current(reload);

    if (err) {
        discard(reload, c);
        plan_fail(c, PLUGIN_FAILED, err);
    } else {
        instance->service->pending = instance;
    }
    go_on(reload);
}

static struct config *resolve(struct reload *reload, struct candidate *c)
{
    struct problems problems = {0};
    struct config *config = config_resolve(c->manifest, reload->plugins->options.env, &problems);
    struct err err;

    if (!config) {
        problems_err(&problems, &err);
        plan_fail(c, PLUGIN_FAILED, &err);
    }
    problems_fini(&problems);
    return config;
}

/* What `dry_run` can know of the code: whether it compiles. */
static void try_compile(struct candidate *c, struct instance *instance)
{
    struct err err;

    if (!c->manifest->entry)
        return;
    if (!instance_open_vm(instance, &err) || !sources_compile(instance->vm, c->dir, &err))
        plan_fail(c, PLUGIN_FAILED, &err);
}

static void build(struct reload *reload, struct candidate *c)
{
    struct config *config;
    struct err err;

    if (!plan_dependencies_ok(&reload->plan, c, &err)) {
        plan_fail(c, PLUGIN_SKIPPED, &err);
        go_on(reload);
        return;
    }
    config = resolve(reload, c);
    if (!config) {
        go_on(reload);
        return;
    }
    c->fresh = instance_new(reload->plugins, c->manifest, config, NULL);
    instance_set_plugin(c->fresh, c->plugin);
    memcpy(c->fresh->digest, c->digest, sizeof(c->digest));
    memcpy(c->fresh->env_digest, c->env_digest, sizeof(c->env_digest));
    if (reload->options.dry_run) {
        try_compile(c, c->fresh);
        go_on(reload);
        return;
    }
    instance_build(c->fresh, built, reload);
}

static void build_next(struct post *post)
{
    struct reload *reload = (struct reload *)((char *)post - offsetof(struct reload, post));

    if (reload->at == reload->plan.order_len)
        all_built(reload);
    else if (current(reload)->action == ACTION_BUILD)
        build(reload, current(reload));
    else
        go_on(reload);
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
    build_next(post);
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
