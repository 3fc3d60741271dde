/* What the control plane tells of worker apps, as Lua tables in the shapes of SPEC 8. Private to
 * the modules of the control plane.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

struct app_set;
struct pool;
struct registry_scan;

void workers_push_list(lua_State *L, const struct app_set *set, const struct pool *pool);

/* One app with its folders and processes; false, and nothing pushed, when there is none. */
bool workers_push_one(lua_State *L,
                      const struct app_set *set,
                      const struct pool *pool,
                      const char *name);

/* The list `apps` of a reload's answer. */
void workers_push_reload(lua_State *L, const struct registry_scan *scan);
