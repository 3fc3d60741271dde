#include "plugin/instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "plugin/budget.h"
#include "plugin/plugins.h"
#include "plugin/push.h"
#include "plugin/service.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

/* The names under which lua/buntime/plugin.lua returns the entries. */
static const char *const entry_keys[ENTRY_COUNT] = {
    [ENTRY_ROUTES] = "routes",
    [ENTRY_SERVER_ROUTES] = "serverRoutes",
    [ENTRY_SERVER_FETCH] = "serverFetch",
    [ENTRY_REQUEST_HOOK] = "onRequest",
    [ENTRY_RESPONSE_HOOK] = "onResponse",
    [ENTRY_SERVER_START] = "onServerStart",
    [ENTRY_WORKER_SPAWN] = "onWorkerSpawn",
    [ENTRY_WORKER_TERMINATE] = "onWorkerTerminate",
    [ENTRY_SHUTDOWN] = "onShutdown",
    [ENTRY_PROVIDED] = "provided",
};

/* What the failure of a phase is called. */
static const struct {
    const char *phase, *code;
} phase_codes[] = {
    {"load", "LOAD_FAILED"},
    {"factory", "FACTORY_FAILED"},
    {"onInit", "INIT_FAILED"},
    {"provides", "PROVIDES_FAILED"},
};

struct instance *instance_new(struct plugins *plugins,
                              struct manifest *manifest,
                              struct config *config,
                              const char *name)
{
    static uint64_t serial;
    struct instance *instance = mem_alloc(sizeof(*instance));

    instance->plugins = plugins;
    instance->manifest = manifest ? manifest_ref(manifest) : NULL;
    instance->config = config;
    instance->name = manifest ? manifest->name : name;
    instance->serial = ++serial;
    instance->refs = 1;
    if (manifest)
        instance->service = service_get(plugins, manifest->name);
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        instance->entry[i] = LUA_NOREF;
    return instance;
}

void instance_set_plugin(struct instance *instance, struct plugin *plugin)
{
    if (plugin)
        plugin_ref(plugin);
    plugin_unref(instance->plugin);
    instance->plugin = plugin;
}

struct instance *instance_ref(struct instance *instance)
{
    instance->refs++;
    return instance;
}

void instance_close(struct instance *instance)
{
    instance->task = NULL; /* nobody waits any more for what runs in it */
    timer_stop(&instance->timer);
    vm_close(instance->vm);
    budget_forget(instance); /* also what finalizers were refused just now */
    instance->vm = NULL;
    instance->state = INSTANCE_CLOSED;
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        instance->entry[i] = LUA_NOREF;
}

void instance_unref(struct instance *instance)
{
    if (!instance || --instance->refs > 0)
        return;
    if (plugins_options(instance->plugins)->on_gone)
        plugins_options(instance->plugins)
            ->on_gone(plugins_options(instance->plugins)->app, instance);
    instance_close(instance);
    for (size_t i = 0; i < instance->server_path_count; i++)
        free(instance->server_paths[i]);
    free(instance->server_paths);
    free(instance->described);
    config_free(instance->config);
    plugin_unref(instance->plugin);
    if (instance->manifest)
        manifest_unref(instance->manifest);
    free(instance);
}

bool instance_has(const struct instance *instance, enum entry entry)
{
    return instance->entry[entry] != LUA_NOREF;
}

static void report(struct vm *vm, const struct err *err)
{
    plugins_fault(vm_host(vm), err, "background", NULL);
}

bool instance_open_vm(struct instance *instance, struct err *err)
{
    const struct manifest *manifest = instance->manifest;
    const struct settings *settings = plugins_settings(instance->plugins);
    const struct plugins_options *app = plugins_options(instance->plugins);
    const struct vm_options options = {
        .name = instance->name,
        .root = manifest ? manifest->dir : NULL,
        .memory_limit = manifest && manifest->memory ? manifest->memory : settings->vm_memory,
        .jit = manifest && manifest->jit,
        .strict_globals = settings->env == ENV_DEVELOPMENT,
        .loop = plugins_loop(instance->plugins),
        .watchdog = app->watchdog,
        .mark = app->mark ? app->mark(app->app, instance->name, instance->digest) : 0,
        .host = instance,
        .open = plugins_open(instance->plugins),
        .report = report,
        .denied = budget_denied,
    };

    instance->vm = vm_new(&options, err);
    return instance->vm != NULL;
}

/* --- building --- */

static void finish(struct instance *instance, const struct err *err)
{
    instance_done *done = instance->done;

    if (!done)
        return;
    instance->done = NULL;
    timer_stop(&instance->timer);
    instance->build_ms = clock_now_ns() / 1000000 - instance->started_ms;
    instance->state = err ? INSTANCE_NEW : INSTANCE_READY;
    done(instance, err, instance->done_arg);
}

static void time_out(struct timer *timer)
{
    struct instance *instance =
        (struct instance *)((char *)timer - offsetof(struct instance, timer));
    const struct settings *settings = plugins_settings(instance->plugins);
    instance_done *done = instance->done;
    struct err err;

    err_set(&err, "INIT_TIMEOUT", "%s took longer than %llu ms (RUNTIME_INIT_TIMEOUT)",
            instance->phase, (unsigned long long)settings->init_timeout);
    instance_ref(instance);
    instance->done = NULL; /* what the cancelled task says is not the reason */
    if (instance->task)
        task_cancel(instance->task, err.message);
    instance->task = NULL;
    instance->done = done;
    finish(instance, &err);
    instance_unref(instance);
}

static void start_timer(struct instance *instance)
{
    const struct settings *settings = plugins_settings(instance->plugins);

    instance->timer.fire = time_out;
    timer_start(plugins_loop(instance->plugins), &instance->timer, settings->init_timeout);
}

/* phase(name): what is about to run; gives it its own share of time. */
static int set_phase(lua_State *L)
{
    struct instance *instance = vm_host(vm_of(L));
    const char *name = luaL_checkstring(L, 1);

    snprintf(instance->phase, sizeof(instance->phase), "%s", name);
    if (strcmp(name, "provides") == 0)
        instance->initialized = true;
    task_set_phase(task_current(L), instance->phase);
    start_timer(instance);
    return 0;
}

static int push_build(lua_State *L, void *arg)
{
    struct instance *instance = arg;

    lua_getglobal(L, "require");
    lua_pushliteral(L, "buntime.plugin");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "build");
    push_spec(L, instance, plugins_settings(instance->plugins));
    lua_pushcfunction(L, set_phase);
    lua_setfield(L, -2, "phase");
    return 2;
}

static void take_paths(struct instance *instance, lua_State *L)
{
    lua_getfield(L, -1, "serverPaths");
    instance->server_path_count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    instance->server_paths = mem_alloc((instance->server_path_count + 1) * sizeof(char *));
    for (size_t i = 0; i < instance->server_path_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        instance->server_paths[i] = mem_copy(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The table of entries is on top. */
static void take_entries(struct instance *instance, lua_State *L)
{
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        lua_getfield(L, -1, entry_keys[i]);
        if (lua_isnil(L, -1))
            lua_pop(L, 1);
        else
            instance->entry[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    take_paths(instance, L);
    lua_getfield(L, -1, "described");
    instance->described = mem_copy(lua_tostring(L, -1));
    lua_pop(L, 1);
    lua_getfield(L, -1, "onRequestFailOpen");
    instance->hook_fail_open = lua_toboolean(L, -1);
    lua_getfield(L, -2, "onRequestPublic");
    instance->hook_public = lua_toboolean(L, -1);
    lua_pop(L, 2);
}

static const char *phase_code(const char *phase)
{
    for (size_t i = 0; i < sizeof(phase_codes) / sizeof(phase_codes[0]); i++) {
        if (strcmp(phase_codes[i].phase, phase) == 0)
            return phase_codes[i].code;
    }
    return "LOAD_FAILED";
}

static void built(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct instance *instance = arg;
    struct err failure;

    if (instance->task != task) /* it was given up on */
        return;
    instance->task = NULL;
    if (ok) {
        instance->initialized = true;
        take_entries(instance, task_state(task));
        vm_collect(instance->vm); /* what loading left behind */
        finish(instance, NULL);
        return;
    }
    failure = *err;
    if (strcmp(failure.code, "LUA_ERROR") == 0)
        snprintf(failure.code, sizeof(failure.code), "%s", phase_code(instance->phase));
    finish(instance, &failure);
}

void instance_build(struct instance *instance, instance_done *done, void *arg)
{
    struct task *task;
    struct err err;

    instance->done = done;
    instance->done_arg = arg;
    instance->started_ms = clock_now_ns() / 1000000;
    instance->state = INSTANCE_BUILDING;
    snprintf(instance->phase, sizeof(instance->phase), "load");
    if (!instance->manifest->entry) { /* an app only: nothing to run here */
        finish(instance, NULL);
        return;
    }
    if (!instance_open_vm(instance, &err) || !(task = task_new(instance->vm, &err))) {
        finish(instance, &err);
        return;
    }
    if (!vm_protect(task_state(task), push_build, instance, 2, &err)) {
        task_discard(task);
        finish(instance, &err);
        return;
    }
    instance->task = task;
    start_timer(instance);
    instance_ref(instance);
    task_start(task, 1, built, instance);
    instance_unref(instance);
}

struct task *instance_task(struct instance *instance, enum entry entry, struct err *err)
{
    struct task *task;

    if (!instance->vm) {
        err_set(err, "PLUGIN_NOT_LOADED", "plugin \"%s\" is not loaded", instance->name);
        return NULL;
    }
    task = task_new(instance->vm, err);
    if (task)
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, instance->entry[entry]);
    return task;
}

/* --- ending --- */

void instance_go_live(struct instance *instance)
{
    instance->state = INSTANCE_LIVE;
    if (instance->vm)
        ledger_live(instance->vm);
}

static bool stops_at_swap(const struct resource *resource)
{
    return strcmp(resource->kind, "timer") == 0 || strcmp(resource->kind, "cron") == 0;
}

void instance_stop_timers(struct instance *instance)
{
    struct resource *resource, *next;

    if (!instance->vm)
        return;
    for (resource = (struct resource *)ledger_first(instance->vm); resource; resource = next) {
        next = resource->next;
        if (stops_at_swap(resource)) {
            ledger_remove(resource);
            resource->close(resource);
        }
    }
}

struct ending {
    struct post post;
    struct instance *instance;
    bool failed;
    struct err err;
};

/* Names what is still open. Watches of buntime.shared are meant to last as long as the VM. */
static void tell_leaks(struct instance *instance)
{
    for (const struct resource *left = ledger_first(instance->vm); left; left = left->next) {
        if (strcmp(left->kind, "watch") != 0)
            plugins_leak(instance, left->kind, left->label);
    }
}

/* On a turn of its own: nothing of the VM is on the C stack. */
static void close_down(struct post *post)
{
    struct ending *ending = (struct ending *)post;
    struct instance *instance = ending->instance;
    instance_done *done = instance->done;

    instance->done = NULL;
    if (instance->vm) {
        tasks_cancel_all(instance->vm, "the plugin was unloaded");
        instance_stop_timers(instance);
        tell_leaks(instance);
    }
    instance_close(instance);
    done(instance, ending->failed ? &ending->err : NULL, instance->done_arg);
    instance_unref(instance);
    free(ending);
}

static void end(struct instance *instance, const struct err *err)
{
    struct ending *ending = mem_alloc(sizeof(*ending));

    timer_stop(&instance->timer);
    instance->initialized = false;
    ending->instance = instance;
    ending->failed = err != NULL;
    if (err)
        ending->err = *err;
    ending->post.run = close_down;
    loop_post(plugins_loop(instance->plugins), &ending->post);
}

static void shut_down(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct instance *instance = arg;

    (void)task;
    if (!instance->task) /* given up on */
        return;
    instance->task = NULL;
    end(instance, ok ? NULL : err);
}

static void shutdown_time_out(struct timer *timer)
{
    struct instance *instance =
        (struct instance *)((char *)timer - offsetof(struct instance, timer));
    struct err err;

    err_set(&err, "SHUTDOWN_TIMEOUT", "onShutdown took longer than its share of time");
    instance->task = NULL;
    end(instance, &err);
}

void instance_shutdown(struct instance *instance,
                       uint64_t timeout_ms,
                       instance_done *done,
                       void *arg)
{
    struct task *task;
    struct err err;

    instance_ref(instance);
    instance->done = done;
    instance->done_arg = arg;
    instance->state = INSTANCE_DRAINING;
    if (!instance->initialized || !instance_has(instance, ENTRY_SHUTDOWN)) {
        end(instance, NULL);
        return;
    }
    snprintf(instance->phase, sizeof(instance->phase), "onShutdown");
    task = instance_task(instance, ENTRY_SHUTDOWN, &err);
    if (!task) {
        end(instance, &err);
        return;
    }
    task_set_phase(task, instance->phase);
    instance->task = task;
    instance->timer.fire = shutdown_time_out;
    timer_start(plugins_loop(instance->plugins), &instance->timer, timeout_ms);
    task_start(task, 0, shut_down, instance);
}
