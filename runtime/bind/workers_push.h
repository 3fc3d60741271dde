/* What the control plane tells of worker apps, as Lua tables in the shapes of SPEC 8. Private to
 * the modules of the control plane.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

struct app_set;
struct generation;
struct pool;
struct registry_scan;

/* Where they look. */
struct workers_view {
    const struct app_set *set;
    const struct generation *generation; /* whose plugins may have serverless sides; or NULL */
    const struct pool *pool;             /* or NULL: nothing runs */
};

/* The folders' apps, then the plugins' serverless sides. */
void workers_push_list(lua_State *L, const struct workers_view *view);

/* One app with its folders and processes; false, and nothing pushed, when there is none. */
bool workers_push_one(lua_State *L, const struct workers_view *view, const char *name);

/* The list `apps` of a reload's answer. */
void workers_push_reload(lua_State *L, const struct registry_scan *scan);
