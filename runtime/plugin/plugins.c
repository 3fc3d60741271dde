#include "plugin/plugins.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plugins_impl.h"
#include "plugin/service.h"
#include "vm/task.h"
#include "vm/vm.h"

/* A replaced instance until it is closed. */
struct drain {
    struct plugins *plugins;
    struct instance *instance;
    struct timer timer;
    bool ending; /* onShutdown has begun */
    struct drain *next;
};

const char *plugin_status_name(enum plugin_status status)
{
    static const char *const names[] = {
        [PLUGIN_LOADED] = "loaded",     [PLUGIN_UNCHANGED] = "unchanged",
        [PLUGIN_KEPT_OLD] = "kept_old", [PLUGIN_FAILED] = "failed",
        [PLUGIN_SKIPPED] = "skipped",   [PLUGIN_DISABLED] = "disabled",
        [PLUGIN_REMOVED] = "removed",   [PLUGIN_QUARANTINED] = "quarantined",
    };

    return names[status];
}

struct plugins *plugins_new(const struct plugins_options *options)
{
    struct plugins *plugins = mem_alloc(sizeof(*plugins));

    plugins->options = *options;
    return plugins;
}

void plugin_ref(struct plugin *plugin)
{
    plugin->refs++;
}

void plugin_unref(struct plugin *plugin)
{
    if (!plugin || --plugin->refs > 0)
        return;
    faults_fini(&plugin->faults);
    if (plugin->manifest)
        manifest_unref(plugin->manifest);
    free(plugin->dir);
    free(plugin->name);
    free(plugin->version);
    free(plugin->base);
    free(plugin->err);
    free(plugin);
}

static void close_all(struct plugins *plugins)
{
    const struct generation *g = plugins->generation;

    for (size_t i = 0; g && i < g->len; i++)
        instance_close(g->instances[i]);
    for (struct drain *drain = plugins->drains; drain; drain = drain->next) {
        drain->ending = true; /* a call that is cancelled by this must not begin it */
        instance_close(drain->instance);
    }
}

static void free_drains(struct plugins *plugins)
{
    while (plugins->drains) {
        struct drain *drain = plugins->drains;
        plugins->drains = drain->next;
        timer_stop(&drain->timer);
        instance_unref(drain->instance);
        free(drain);
    }
}

void plugins_free(struct plugins *plugins)
{
    struct generation *generation = plugins->generation;

    timer_stop(&plugins->shutdown_timer);
    close_all(plugins);
    reloads_free(plugins);
    plugins->generation = NULL;
    generation_unref(generation);
    free_drains(plugins);
    plugins_forget_leaks(plugins);
    while (plugins->first) {
        struct plugin *plugin = plugins->first;
        plugins->first = plugin->next;
        plugin_unref(plugin);
    }
    while (plugins->services) {
        struct service *service = plugins->services;
        plugins->services = service->next;
        free(service->name);
        free(service);
    }
    free(plugins);
}

const struct reload_counts *plugins_reload_counts(const struct plugins *plugins)
{
    return &plugins->counts;
}

struct generation *plugins_generation(struct plugins *plugins)
{
    return plugins->generation;
}

struct plugin *plugins_first(struct plugins *plugins)
{
    return plugins->first;
}

/* Of two folders with one name, the one that is live, else the first. */
struct plugin *plugins_find(struct plugins *plugins, const char *name)
{
    struct plugin *found = NULL;

    for (struct plugin *plugin = plugins->first; plugin; plugin = plugin->next) {
        if (strcmp(plugin->name, name) != 0)
            continue;
        if (plugin->live)
            return plugin;
        if (!found)
            found = plugin;
    }
    return found;
}

const struct plugins_options *plugins_options(const struct plugins *plugins)
{
    return &plugins->options;
}

const struct settings *plugins_settings(const struct plugins *plugins)
{
    return plugins->options.settings;
}

struct loop *plugins_loop(const struct plugins *plugins)
{
    return plugins->options.loop;
}

int (*plugins_open(const struct plugins *plugins))(lua_State *L)
{
    return plugins->options.open;
}

/* --- telling --- */

void plugins_fault(struct instance *instance,
                   const struct err *err,
                   const char *phase,
                   const char *request_id)
{
    const struct plugins_options *options = &instance->plugins->options;

    if (instance->plugin) {
        instance->plugin->errors++;
        faults_add(&instance->plugin->faults, err, phase, request_id);
    }
    if (options->on_fault)
        options->on_fault(options->app, instance, err, phase, request_id);
}

void plugins_notice(
    struct plugins *plugins, enum log_level level, const char *plugin, const char *fmt, ...)
{
    char message[ERR_MESSAGE_MAX];
    va_list args;

    if (!plugins->options.on_notice)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    plugins->options.on_notice(plugins->options.app, level, plugin, message);
}

void plugins_leak(struct instance *instance, const char *kind, const char *label)
{
    struct plugins *plugins = instance->plugins;

    plugins->leaks =
        mem_resize(plugins->leaks, (plugins->leak_count + 1) * sizeof(*plugins->leaks));
    plugins->leaks[plugins->leak_count++] =
        (struct reload_leak){mem_copy(instance->name), mem_copy(kind), mem_copy(label)};
    plugins_notice(plugins, LOG_WARN, instance->name, "left open and now closed: %s %s", kind,
                   label);
}

void plugins_forget_leaks(struct plugins *plugins)
{
    for (size_t i = 0; i < plugins->leak_count; i++) {
        free(plugins->leaks[i].plugin);
        free(plugins->leaks[i].kind);
        free(plugins->leaks[i].label);
    }
    free(plugins->leaks);
    plugins->leaks = NULL;
    plugins->leak_count = 0;
}

/* --- services --- */

struct service *service_get(struct plugins *plugins, const char *name)
{
    struct service *service = plugins->services;

    while (service && strcmp(service->name, name) != 0)
        service = service->next;
    if (service)
        return service;
    service = mem_alloc(sizeof(*service));
    service->name = mem_copy(name);
    service->next = plugins->services;
    plugins->services = service;
    return service;
}

struct instance *service_provider(const struct service *service, const struct instance *consumer)
{
    const bool loading = consumer->state == INSTANCE_BUILDING || consumer->state == INSTANCE_READY;
    struct instance *provider = loading && service->pending ? service->pending : service->live;

    return provider && provider->vm ? provider : NULL;
}

/* --- draining --- */

static void finish_shutdown(struct plugins *plugins)
{
    void (*done)(void *arg) = plugins->shutdown_done;

    if (!plugins->shutdown_walked || plugins->drains || !done)
        return;
    plugins->shutdown_done = NULL;
    done(plugins->shutdown_arg);
}

static void drain_closed(struct instance *instance, const struct err *err, void *arg)
{
    struct drain *drain = arg;
    struct plugins *plugins = drain->plugins;
    struct drain **at = &plugins->drains;

    if (err)
        plugins_fault(instance, err, "onShutdown", NULL);
    while (*at != drain)
        at = &(*at)->next;
    *at = drain->next;
    instance_unref(drain->instance);
    free(drain);
    reload_settle(plugins);
    finish_shutdown(plugins);
}

static void end_drain(struct drain *drain, uint64_t timeout_ms)
{
    drain->ending = true;
    timer_stop(&drain->timer);
    instance_shutdown(drain->instance, timeout_ms, drain_closed, drain);
}

static bool is_idle(const struct instance *instance)
{
    return instance->generations == 0 && instance->calls == 0;
}

static void drain_time_out(struct timer *timer)
{
    struct drain *drain = (struct drain *)((char *)timer - offsetof(struct drain, timer));
    struct plugins *plugins = drain->plugins;

    if (plugins->options.cut)
        plugins->options.cut(plugins->options.app, drain->instance);
    if (!drain->ending)
        end_drain(drain, plugins_settings(plugins)->drain_timeout);
}

static struct drain *find_drain(struct plugins *plugins, const struct instance *instance)
{
    struct drain *drain = plugins->drains;

    while (drain && drain->instance != instance)
        drain = drain->next;
    return drain;
}

static void check_drained(struct plugins *plugins, struct instance *instance)
{
    struct drain *drain = find_drain(plugins, instance);

    if (drain && !drain->ending && is_idle(instance))
        end_drain(drain, plugins_settings(plugins)->drain_timeout);
}

void plugins_drained(struct plugins *plugins, struct instance *instance)
{
    check_drained(plugins, instance);
}

void plugins_call_done(struct instance *instance)
{
    if (--instance->calls == 0 && instance->state == INSTANCE_DRAINING)
        check_drained(instance->plugins, instance);
}

static void start_drain(struct plugins *plugins, struct instance *instance)
{
    struct drain *drain = mem_alloc(sizeof(*drain));

    instance->state = INSTANCE_DRAINING;
    instance_stop_timers(instance);
    drain->plugins = plugins;
    drain->instance = instance_ref(instance);
    drain->timer.fire = drain_time_out;
    timer_start(plugins_loop(plugins), &drain->timer, plugins_settings(plugins)->drain_timeout);
    drain->next = plugins->drains;
    plugins->drains = drain;
    if (plugins->options.on_drain)
        plugins->options.on_drain(plugins->options.app, instance);
}

size_t plugins_closing(const struct plugins *plugins)
{
    size_t count = 0;

    for (const struct drain *drain = plugins->drains; drain; drain = drain->next)
        count += drain->ending;
    return count;
}

static bool holds(struct instance *const *instances, size_t len, const struct instance *instance)
{
    for (size_t i = 0; i < len; i++) {
        if (instances[i] == instance)
            return true;
    }
    return false;
}

static void bring_live(struct instance *instance)
{
    if (instance->state != INSTANCE_LIVE)
        instance_go_live(instance);
    instance->service->live = instance;
}

/* Marks every instance of `old` that the new generation lacks as draining. */
static void retire_replaced(struct plugins *plugins,
                            const struct generation *old,
                            struct instance *const *instances,
                            size_t len)
{
    for (size_t i = 0; old && i < old->len; i++) {
        struct instance *instance = old->instances[i];
        if (holds(instances, len, instance))
            continue;
        if (instance->service->live == instance)
            instance->service->live = NULL;
        start_drain(plugins, instance);
    }
}

void plugins_swap(struct plugins *plugins, struct instance *const *instances, size_t len)
{
    struct generation *old = plugins->generation;
    const struct plugins_options *options = &plugins->options;

    plugins->generation = generation_new(plugins, ++plugins->generation_number, instances, len);
    retire_replaced(plugins, old, instances, len);
    for (size_t i = 0; i < len; i++) {
        const bool fresh = instances[i]->state != INSTANCE_LIVE;
        bring_live(instances[i]);
        if (fresh && options->on_live)
            options->on_live(options->app, instances[i]);
    }
    if (options->on_swap)
        options->on_swap(options->app, plugins->generation);
    generation_unref(old);
}

/* --- shutdown --- */

static void shut_next(struct plugins *plugins);

static void shut_one_done(struct instance *instance, const struct err *err, void *arg)
{
    if (err)
        plugins_fault(instance, err, "onShutdown", NULL);
    shut_next(arg);
}

static void shut_next(struct plugins *plugins)
{
    struct generation *g = plugins->generation;
    const uint64_t now = loop_now_ms(plugins_loop(plugins));
    uint64_t left;

    if (!g || plugins->shutdown_next == 0) {
        plugins->shutdown_walked = true;
        finish_shutdown(plugins);
        return;
    }
    left = now < plugins->shutdown_deadline ? plugins->shutdown_deadline - now : 0;
    left /= plugins->shutdown_next;
    plugins->shutdown_next--;
    instance_shutdown(g->instances[plugins->shutdown_next], left ? left : 1, shut_one_done,
                      plugins);
}

void plugins_shutdown(struct plugins *plugins,
                      uint64_t timeout_ms,
                      void (*done)(void *arg),
                      void *arg)
{
    plugins->shutdown_done = done;
    plugins->shutdown_arg = arg;
    plugins->shutdown_deadline = loop_now_ms(plugins_loop(plugins)) + timeout_ms;
    plugins->shutdown_next = plugins->generation ? plugins->generation->len : 0;
    for (struct drain *drain = plugins->drains, *next; drain; drain = next) {
        next = drain->next;
        if (!drain->ending)
            end_drain(drain, timeout_ms / 2 + 1);
    }
    shut_next(plugins);
}
