/* The folders that the code of a VM may use by name: the plugin's own, to read, and its data
 * folder, which survives reloads and upgrades.
 *
 * Where no server runs the plugin (`buntime test`), the data folder is a temporary one that goes
 * with the VM.
 */
#pragma once

#include <lua.h>

/* Each pushes the path and returns it; it may not exist yet. NULL (and nil): there is none. */
const char *roots_push_data(lua_State *L);
const char *roots_push_plugin(lua_State *L);
