#include "bind/workers_push.h"

#include <stdlib.h>

#include "base/semver.h"
#include "bind/set_fields.h"
#include "conf/manifest.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "worker/app.h"
#include "worker/app_set.h"
#include "worker/pool.h"
#include "worker/registry.h"

/* "unchanged" tells what a reload did; between reloads such an app is loaded. */
static const char *state_of(const struct app_entry *entry)
{
    return app_status_name(entry->status == APP_UNCHANGED ? APP_LOADED : entry->status);
}

static bool is_first(const struct app_set *set, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(set->entries[k].name, set->entries[i].name) == 0)
            return false;
    }
    return true;
}

/* --- one app of any number of folders --- */

/* The latest, then the higher versions; what is no version comes last. */
static int by_version(const void *a, const void *b)
{
    const struct app_entry *const *x = a, *const *y = b;
    struct semver one, other;
    bool good, other_good;

    if (!(*x)->version || !(*y)->version)
        return ((*x)->version != NULL) - ((*y)->version != NULL);
    good = semver_parse(str_of((*x)->version), &one);
    other_good = semver_parse(str_of((*y)->version), &other);
    if (!good || !other_good)
        return other_good - good;
    return semver_compare(&other, &one);
}

/* The folders of the app, the best first. In memory of the VM, which stays pushed. */
static const struct app_entry **
folders_of(lua_State *L, const struct app_set *set, const char *name, size_t *len)
{
    const struct app_entry **list = lua_newuserdata(L, (set->len + 1) * sizeof(struct app_entry *));

    *len = 0;
    for (size_t i = 0; i < set->len; i++) {
        if (strcmp(set->entries[i].name, name) == 0)
            list[(*len)++] = &set->entries[i];
    }
    qsort(list, *len, sizeof(*list), by_version);
    return list;
}

static void set_versions(
    lua_State *L, const char *key, const struct app_entry **list, size_t len, bool disabled)
{
    new_list(L);
    for (size_t i = 0; i < len; i++) {
        if (disabled ? list[i]->status != APP_DISABLED : !list[i]->app)
            continue;
        push_clean(L, app_entry_version(list[i]));
        append(L);
    }
    lua_setfield(L, -2, key);
}

static void push_folder_err(lua_State *L, const struct app_entry *entry)
{
    lua_createtable(L, 0, 3);
    set_text(L, "version", app_entry_version(entry));
    set_text(L, "path", entry->dir);
    set_err(L, entry->err);
}

static void set_errors(lua_State *L, const struct app_entry **list, size_t len)
{
    new_list(L);
    for (size_t i = 0; i < len; i++) {
        if (!list[i]->err)
            continue;
        push_folder_err(L, list[i]);
        append(L);
    }
    lua_setfield(L, -2, "errors");
}

static bool any_builtin(const struct app_entry **list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (list[i]->builtin)
            return true;
    }
    return false;
}

/* Processes that run the app, those that drain included. */
static double live(const struct pool *pool, const char *name, bool of_plugin)
{
    struct pool_worker worker;
    double count = 0;

    for (size_t i = 0; pool && pool_worker_at(pool, i, &worker); i++)
        count += (worker.app->base != NULL) == of_plugin && strcmp(worker.app->name, name) == 0;
    return count;
}

static double requests(const struct pool *pool, const struct app_entry **list, size_t len)
{
    double count = 0;

    for (size_t i = 0; pool && i < len; i++) {
        const struct app like = {.name = list[i]->name, .version = list[i]->version};
        if (!list[i]->err || list[i]->app) /* a duplicate has not answered anything */
            count += (double)pool_requests(pool, &like);
    }
    return count;
}

/* list app */
static void
push_app(lua_State *L, const struct workers_view *view, const struct app_entry **list, size_t len)
{
    lua_createtable(L, 0, 12);
    set_text(L, "name", list[0]->name);
    set_text(L, "path", list[0]->dir);
    set_versions(L, "versions", list, len, false);
    set_versions(L, "disabledVersions", list, len, true);
    set_flag(L, "removable", !any_builtin(list, len));
    set_text(L, "source", list[0]->builtin ? "builtin" : "external");
    set_errors(L, list, len);
    set_number(L, "live", live(view->pool, list[0]->name, false));
    set_number(L, "requests", requests(view->pool, list, len));
}

/* The serverless side of a plugin, which is enabled and removed with the plugin. */
static void push_side(lua_State *L, const struct workers_view *view, const struct app *app)
{
    lua_createtable(L, 0, 12);
    set_text(L, "name", app->name);
    set_text(L, "path", app->dir);
    new_list(L);
    push_clean(L, app->version ? app->version : "latest");
    append(L);
    lua_setfield(L, -2, "versions");
    new_list(L);
    lua_setfield(L, -2, "disabledVersions");
    set_flag(L, "removable", false);
    set_text(L, "source", "plugin");
    new_list(L);
    lua_setfield(L, -2, "errors");
    set_number(L, "live", live(view->pool, app->name, true));
    set_number(L, "requests", view->pool ? (double)pool_requests(view->pool, app) : 0);
}

static void append_sides(lua_State *L, const struct workers_view *view)
{
    const struct generation *g = view->generation;

    for (size_t i = 0; g && i < g->len; i++) {
        if (!g->instances[i]->app)
            continue;
        push_side(L, view, g->instances[i]->app);
        append(L);
    }
}

void workers_push_list(lua_State *L, const struct workers_view *view)
{
    const struct app_set *set = view->set;

    luaL_checkstack(L, 12, "workers");
    new_list(L);
    for (size_t i = 0; i < set->len; i++) {
        const struct app_entry **list;
        size_t len;
        if (!is_first(set, i))
            continue;
        list = folders_of(L, set, set->entries[i].name, &len); /* all list */
        push_app(L, view, list, len);
        lua_remove(L, -2);
        append(L);
    }
    append_sides(L, view);
}

/* --- one in full --- */

static void set_limits(lua_State *L, const struct manifest *m)
{
    static const char *const visibilities[] = {"public", "protected", "internal"};

    set_text(L, "entrypoint", m->entrypoint);
    set_text(L, "visibility", visibilities[m->visibility]);
    set_number(L, "timeoutMs", (double)m->timeout);
    set_number(L, "ttlMs", (double)m->ttl);
    set_number(L, "idleTimeoutMs", (double)m->idle_timeout);
    set_number(L, "maxRequests", (double)m->max_requests);
}

static void push_folder(lua_State *L, const struct app_entry *entry)
{
    lua_createtable(L, 0, 12);
    set_text(L, "version", app_entry_version(entry));
    set_text(L, "path", entry->dir);
    set_text(L, "state", state_of(entry));
    set_text(L, "source", entry->builtin ? "builtin" : "external");
    set_err(L, entry->err);
    if (entry->app)
        set_limits(L, entry->app->manifest);
}

static void set_folders(lua_State *L, const struct app_entry **list, size_t len)
{
    new_list(L);
    for (size_t i = 0; i < len; i++) {
        push_folder(L, list[i]);
        append(L);
    }
    lua_setfield(L, -2, "folders");
}

static void push_process(lua_State *L, const struct pool_worker *worker)
{
    lua_createtable(L, 0, 8);
    set_text(L, "id", worker->id);
    set_number(L, "pid", worker->pid);
    set_text(L, "version", worker->app->version ? worker->app->version : "latest");
    set_text(L, "state", worker->state);
    set_number(L, "inFlight", worker->in_flight);
    set_number(L, "served", (double)worker->served);
    set_number(L, "ageMs", (double)worker->age_ms);
    set_number(L, "memory", (double)worker->memory);
}

static void set_processes(lua_State *L, const struct pool *pool, const char *name, bool of_plugin)
{
    struct pool_worker worker;

    new_list(L);
    for (size_t i = 0; pool && pool_worker_at(pool, i, &worker); i++) {
        if ((worker.app->base != NULL) != of_plugin || strcmp(worker.app->name, name) != 0)
            continue;
        push_process(L, &worker);
        append(L);
    }
    lua_setfield(L, -2, "processes");
}

static const struct app *side_of(const struct generation *g, const char *name)
{
    for (size_t i = 0; g && i < g->len; i++) {
        if (g->instances[i]->app && strcmp(g->instances[i]->app->name, name) == 0)
            return g->instances[i]->app;
    }
    return NULL;
}

static bool push_one_side(lua_State *L, const struct workers_view *view, const char *name)
{
    const struct app *app = side_of(view->generation, name);

    if (!app)
        return false;
    push_side(L, view, app);
    set_limits(L, app->manifest);
    set_processes(L, view->pool, name, true);
    return true;
}

bool workers_push_one(lua_State *L, const struct workers_view *view, const char *name)
{
    const struct app_entry **list;
    size_t len;

    luaL_checkstack(L, 12, "worker");
    list = folders_of(L, view->set, name, &len); /* list */
    if (len == 0) {
        lua_pop(L, 1);
        return push_one_side(L, view, name);
    }
    push_app(L, view, list, len); /* list app */
    set_folders(L, list, len);
    set_processes(L, view->pool, name, false);
    lua_remove(L, -2);
    return true;
}

/* --- reloads --- */

static void push_reloaded(lua_State *L, const struct app_entry *entry)
{
    lua_createtable(L, 0, 5);
    set_text(L, "name", entry->name);
    set_text(L, "version", app_entry_version(entry));
    set_text(L, "path", entry->dir);
    set_text(L, "status", app_status_name(entry->status));
    set_err(L, entry->err);
}

void workers_push_reload(lua_State *L, const struct registry_scan *scan)
{
    luaL_checkstack(L, 10, "apps");
    new_list(L);
    for (size_t i = 0; i < scan->set->len; i++) {
        push_reloaded(L, &scan->set->entries[i]);
        append(L);
    }
    for (size_t i = 0; i < scan->removed_len; i++) {
        push_reloaded(L, &scan->removed[i]);
        append(L);
    }
}
