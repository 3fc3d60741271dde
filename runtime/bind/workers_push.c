#include "bind/workers_push.h"

#include <stdlib.h>

#include "base/semver.h"
#include "bind/set_fields.h"
#include "conf/manifest.h"
#include "worker/app.h"
#include "worker/app_set.h"
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

/* list app */
static void push_app(lua_State *L, const struct app_entry **list, size_t len)
{
    lua_createtable(L, 0, 12);
    set_text(L, "name", list[0]->name);
    set_text(L, "path", list[0]->dir);
    set_versions(L, "versions", list, len, false);
    set_versions(L, "disabledVersions", list, len, true);
    set_flag(L, "removable", !any_builtin(list, len));
    set_text(L, "source", list[0]->builtin ? "builtin" : "external");
    set_errors(L, list, len);
    set_number(L, "live", 0);
    set_number(L, "requests", 0);
}

void workers_push_list(lua_State *L, const struct app_set *set, const struct pool *pool)
{
    (void)pool;
    luaL_checkstack(L, 12, "workers");
    new_list(L);
    for (size_t i = 0; i < set->len; i++) {
        const struct app_entry **list;
        size_t len;
        if (!is_first(set, i))
            continue;
        list = folders_of(L, set, set->entries[i].name, &len); /* all list */
        push_app(L, list, len);
        lua_remove(L, -2);
        append(L);
    }
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

bool workers_push_one(lua_State *L,
                      const struct app_set *set,
                      const struct pool *pool,
                      const char *name)
{
    const struct app_entry **list;
    size_t len;

    (void)pool;
    luaL_checkstack(L, 12, "worker");
    list = folders_of(L, set, name, &len); /* list */
    if (len == 0) {
        lua_pop(L, 1);
        return false;
    }
    push_app(L, list, len); /* list app */
    set_folders(L, list, len);
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
