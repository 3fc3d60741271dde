#include "bind/control_push.h"

#include <string.h>

#include <lauxlib.h>

#include "bind/cron.h"
#include "bind/set_fields.h"
#include "bind/workers_push.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "data/keyring.h"
#include "data/redis.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "vm/task.h"
#include "vm/vm.h"
#include "worker/sandbox.h"

/* --- health --- */

static bool is_missing(const struct plugin *p)
{
    return p->enabled && !p->live && p->manifest && p->manifest->critical;
}

static void set_missing(lua_State *L, struct plugins *plugins)
{
    new_list(L);
    for (const struct plugin *p = plugins_first(plugins); p; p = p->next) {
        if (!is_missing(p))
            continue;
        push_clean(L, p->name);
        append(L);
    }
    lua_setfield(L, -2, "missing");
}

/* What RUNTIME_SANDBOX=require demands and this kernel has not. */
static void set_unmet(lua_State *L, const struct settings *settings)
{
    const unsigned have = sandbox_supported();

    new_list(L);
    for (unsigned part = 1; part <= SANDBOX_ALL && settings->sandbox == SANDBOX_REQUIRE;
         part <<= 1) {
        if (have & part)
            continue;
        lua_pushstring(L, sandbox_part_name((enum sandbox_part)part));
        append(L);
    }
    lua_setfield(L, -2, "unmet");
}

/* "unchanged" tells what a reload did; between reloads such a plugin is loaded. */
static const char *state_of(const struct plugin *p)
{
    return plugin_status_name(p->status == PLUGIN_UNCHANGED ? PLUGIN_LOADED : p->status);
}

static void set_counts(lua_State *L, struct plugins *plugins)
{
    lua_newtable(L);
    for (const struct plugin *p = plugins_first(plugins); p; p = p->next) {
        lua_getfield(L, -1, state_of(p));
        lua_pushnumber(L, lua_tonumber(L, -1) + 1);
        lua_setfield(L, -3, state_of(p));
        lua_pop(L, 1);
    }
    lua_setfield(L, -2, "plugins");
}

void control_push_status(lua_State *L, struct plugins *plugins)
{
    const struct plugins_options *options = plugins_options(plugins);
    const struct generation *g = plugins_generation(plugins);
    struct server_status status = {.stopping = false};

    if (options->status)
        options->status(options->app, &status);
    luaL_checkstack(L, 8, "status");
    lua_newtable(L);
    set_text(L, "version", BUNTIME_VERSION);
    set_number(L, "uptime", (double)(status.now_ms - status.started_ms) / 1000);
    set_number(L, "generation", g ? (double)g->number : 0);
    set_flag(L, "stopping", status.stopping);
    set_missing(L, plugins);
    set_unmet(L, options->settings);
    set_counts(L, plugins);
    set_flag(L, "keysUnread", options->keyring && keyring_problem(options->keyring));
    set_flag(L, "redisAway", options->redis && redis_away(options->redis));
    lua_pushfstring(L, "%s/api", options->settings->api_prefix);
    lua_setfield(L, -2, "api");
}

/* --- records --- */

static void push_record(lua_State *L, const struct plugin *p)
{
    luaL_checkstack(L, 8, "plugin");
    lua_createtable(L, 0, 18);
    set_text(L, "name", p->name);
    set_text(L, "path", p->dir);
    set_text(L, "version", p->version);
    set_text(L, "base", p->base);
    set_flag(L, "enabled", p->enabled);
    set_flag(L, "removable", !p->builtin);
    set_text(L, "source", p->builtin ? "builtin" : "external");
    set_text(L, "state", state_of(p));
    set_err(L, p->err);
    set_text(L, "hash", p->digest);
}

void control_push_plugins(lua_State *L, struct plugins *plugins)
{
    luaL_checkstack(L, 4, "plugins");
    new_list(L);
    for (const struct plugin *p = plugins_first(plugins); p; p = p->next) {
        if (p->status == PLUGIN_REMOVED)
            continue;
        push_record(L, p);
        append(L);
    }
}

static void set_resources(lua_State *L, const struct vm *vm)
{
    const struct resource *r = vm ? ledger_first(vm) : NULL;

    new_list(L);
    for (; r; r = r->next) {
        lua_createtable(L, 0, 2);
        set_text(L, "kind", r->kind);
        set_text(L, "label", r->label);
        append(L);
    }
    lua_setfield(L, -2, "resources");
}

static void push_schedule(lua_State *L, const struct cron_status *status)
{
    lua_createtable(L, 0, 12);
    set_text(L, "name", status->name);
    set_text(L, "line", status->line);
    set_text(L, "timezone", status->timezone);
    set_number(L, "next", status->next);
    set_flag(L, "running", status->running);
    set_number(L, "runs", (double)status->runs);
    set_number(L, "failures", (double)status->failures);
    set_number(L, "skipped", (double)status->skipped);
    set_number(L, "elsewhere", (double)status->elsewhere);
    if (status->has_run) {
        set_number(L, "last", status->last);
        set_number(L, "seconds", status->seconds);
    } else {
        set_null(L, "last");
        set_null(L, "seconds");
    }
    set_text(L, "error", status->error);
}

static void set_schedules(lua_State *L, const struct vm *vm)
{
    const struct resource *r = vm ? ledger_first(vm) : NULL;
    struct cron_status status;

    new_list(L);
    for (; r; r = r->next) {
        if (!cron_status(r, &status))
            continue;
        push_schedule(L, &status);
        append(L);
    }
    lua_setfield(L, -2, "cron");
}

static void set_lag(lua_State *L, const struct lag_stats *lag)
{
    lua_createtable(L, 0, 3); /* lag */
    set_number(L, "count", (double)lag->count);
    set_number(L, "maxMs", (double)lag->max_ms);
    if (lag->count) {
        lua_createtable(L, 0, 3); /* lag last */
        set_text(L, "file", lag->last.file);
        set_line(L, lag->last.line);
        set_number(L, "ms", (double)lag->last.ms);
        lua_setfield(L, -2, "last");
    } else {
        set_null(L, "last");
    }
    lua_setfield(L, -2, "lag");
}

static size_t memory_limit(const struct plugin *p)
{
    const struct settings *settings = plugins_settings(p->live->plugins);

    return p->live->manifest->memory ? p->live->manifest->memory : settings->vm_memory;
}

void control_push_plugin(lua_State *L, const struct plugin *p)
{
    const struct vm *vm = p->live ? p->live->vm : NULL;

    push_record(L, p);
    set_number(L, "memory", vm ? (double)vm_memory(vm) : 0);
    set_number(L, "memoryLimit", vm ? (double)memory_limit(p) : 0);
    set_number(L, "calls", (double)p->requests);
    set_number(L, "errors", (double)p->errors);
    set_number(L, "tasks", vm ? tasks_open(vm) : 0);
    set_lag(L, &p->lag);
    set_resources(L, vm);
    set_schedules(L, vm);
}

static void set_names(lua_State *L, const char *key, const char *const *names)
{
    new_list(L);
    for (; *names; names++) {
        push_clean(L, *names);
        append(L);
    }
    lua_setfield(L, -2, key);
}

static void push_menus(lua_State *L, const struct manifest_menu *menus, size_t count)
{
    luaL_checkstack(L, 6, "menus");
    new_list(L);
    for (size_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 4);
        set_text(L, "title", menus[i].title);
        set_text(L, "icon", menus[i].icon);
        set_text(L, "path", menus[i].path);
        push_menus(L, menus[i].items, menus[i].item_count);
        lua_setfield(L, -2, "items");
        append(L);
    }
}

void control_push_loaded(lua_State *L, struct plugins *plugins)
{
    const struct generation *g = plugins_generation(plugins);

    luaL_checkstack(L, 8, "loaded");
    new_list(L);
    for (size_t i = 0; g && i < g->len; i++) {
        const struct manifest *manifest = g->instances[i]->manifest;
        lua_createtable(L, 0, 6);
        set_text(L, "name", manifest->name);
        set_text(L, "version", manifest->version);
        set_text(L, "base", manifest->base);
        set_names(L, "dependencies", manifest->dependencies);
        set_names(L, "optionalDependencies", manifest->optional_dependencies);
        push_menus(L, manifest->menus, manifest->menu_count);
        lua_setfield(L, -2, "menus");
        append(L);
    }
}

void control_push_routes(lua_State *L, struct plugins *plugins)
{
    const struct generation *g = plugins_generation(plugins);

    luaL_checkstack(L, 8, "routes");
    new_list(L);
    for (size_t i = 0; g && i < g->len; i++) {
        const struct instance *instance = g->instances[i];
        if (!instance->described)
            continue;
        lua_createtable(L, 0, 4);
        set_text(L, "name", instance->manifest->name);
        set_text(L, "version", instance->manifest->version);
        set_text(L, "base", instance->manifest->base);
        set_text(L, "routes", instance->described);
        append(L);
    }
}

/* --- configuration --- */

static void push_shown(lua_State *L, const struct value *value);

static void push_list(lua_State *L, const struct value *value)
{
    new_list(L);
    for (size_t i = 0; i < value->list.len; i++) {
        push_shown(L, value->list.items[i]);
        append(L);
    }
}

static void push_map(lua_State *L, const struct value *value)
{
    lua_createtable(L, 0, (int)value->map.len);
    for (size_t i = 0; i < value->map.len; i++) {
        push_clean(L, value->map.entries[i].key.at);
        push_shown(L, value->map.entries[i].value);
        lua_rawset(L, -3);
    }
}

static void push_shown(lua_State *L, const struct value *value)
{
    luaL_checkstack(L, 6, "value");
    switch (value ? value->type : VALUE_NULL) {
    case VALUE_NULL:
        push_null(L);
        break;
    case VALUE_BOOL:
        lua_pushboolean(L, value->boolean);
        break;
    case VALUE_NUMBER:
        lua_pushnumber(L, value->number);
        break;
    case VALUE_STRING:
        push_clean(L, value->string.at);
        break;
    case VALUE_LIST:
        push_list(L, value);
        break;
    case VALUE_MAP:
        push_map(L, value);
        break;
    }
}

void control_push_config(lua_State *L, const struct config *config)
{
    static const char *const sources[] = {
        [CONFIG_NONE] = NULL,
        [CONFIG_ENV] = "env",
        [CONFIG_MANIFEST] = "manifest",
        [CONFIG_DEFAULT] = "default",
    };

    luaL_checkstack(L, 8, "config");
    lua_newtable(L);
    for (size_t i = 0; i < config_item_count(config); i++) {
        const struct config_item *item = config_item_at(config, i);
        push_clean(L, item->key);
        lua_createtable(L, 0, 3);
        if (item->secret && item->value)
            lua_pushliteral(L, "***");
        else
            push_shown(L, item->value);
        lua_setfield(L, -2, "value");
        set_text(L, "source", sources[item->source]);
        set_text(L, "env", item->env);
        lua_rawset(L, -3);
    }
}

/* --- errors --- */

void control_push_faults(lua_State *L, const struct faults *faults)
{
    luaL_checkstack(L, 8, "errors");
    new_list(L);
    for (size_t i = 0; i < faults->len; i++) {
        const struct fault *fault = &faults->items[i];
        lua_createtable(L, 0, 10);
        set_text(L, "code", fault->code);
        set_text(L, "message", fault->message);
        set_text(L, "file", fault->file);
        set_line(L, fault->line);
        set_text(L, "traceback", fault->traceback);
        set_text(L, "phase", fault->phase);
        set_text(L, "requestId", fault->request_id);
        set_number(L, "count", (double)fault->count);
        set_number(L, "first", fault->first);
        set_number(L, "last", fault->last);
        append(L);
    }
}

/* --- reloads --- */

static void push_item(lua_State *L, const struct reload_item *item)
{
    lua_createtable(L, 0, 7);
    set_text(L, "name", item->name);
    set_text(L, "path", item->path);
    set_text(L, "version", item->version);
    set_text(L, "status", plugin_status_name(item->status));
    set_text(L, "base", item->base);
    set_number(L, "initMs", (double)item->init_ms);
    set_err(L, item->err);
}

static void push_leak(lua_State *L, const struct reload_leak *leak)
{
    lua_createtable(L, 0, 3);
    set_text(L, "plugin", leak->plugin);
    set_text(L, "kind", leak->kind);
    set_text(L, "label", leak->label);
}

void control_push_result(lua_State *L, const struct reload_result *result)
{
    luaL_checkstack(L, 10, "reload");
    lua_createtable(L, 0, 6);
    set_flag(L, "ok", result->ok);
    set_number(L, "generation", (double)result->generation);
    set_number(L, "durationMs", (double)result->duration_ms);
    new_list(L);
    for (size_t i = 0; i < result->len; i++) {
        push_item(L, &result->items[i]);
        append(L);
    }
    lua_setfield(L, -2, "plugins");
    new_list(L);
    for (size_t i = 0; i < result->leak_count; i++) {
        push_leak(L, &result->leaks[i]);
        append(L);
    }
    lua_setfield(L, -2, "leaks");
    if (!result->apps)
        return;
    workers_push_reload(L, result->apps);
    lua_setfield(L, -2, "apps");
}
