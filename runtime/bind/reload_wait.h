/* Waiting for a reload, for the modules of the control plane. */
#pragma once

#include <lua.h>

struct plugins;
struct reload_options;

/* Ends a Lua function that waits: -> the reload object, "ok" | "partial" | "rejected" | "unknown".
 */
int reload_wait(lua_State *L, struct plugins *plugins, const struct reload_options *options);
