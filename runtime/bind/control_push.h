/* What the control plane tells, as Lua tables in the shapes of SPEC 7 and 8. Private to
 * bind_control.c.
 *
 * Lists are marked as JSON arrays, what is absent is json.null, and all text is UTF-8 with the
 * secrets masked. These raise when the VM's memory is spent.
 */
#pragma once

#include <lua.h>

struct config;
struct faults;
struct plugin;
struct plugins;
struct reload_result;

void control_push_status(lua_State *L, struct plugins *plugins);
void control_push_plugins(lua_State *L, struct plugins *plugins); /* as found on disk */
void control_push_routes(lua_State *L, struct plugins *plugins);  /* what they say of them */
void control_push_loaded(lua_State *L, struct plugins *plugins);  /* in load order */
void control_push_plugin(lua_State *L, const struct plugin *plugin);
void control_push_config(lua_State *L, const struct config *config);
void control_push_faults(lua_State *L, const struct faults *faults);
void control_push_result(lua_State *L, const struct reload_result *result);
