/* Where in the plugin's code a function was called from, for the ledger. */
#pragma once

#include <stddef.h>

#include <lua.h>

/* "plugin.lua:12": the place `level` calls up, counted as lua_getstack() does; long paths lose
 * their beginning.
 */
void caller_name(lua_State *L, int level, char *out, size_t size);
