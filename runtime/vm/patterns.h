/* string.find, match, gmatch and gsub for VMs in which everything has to end.
 *
 * They do what LuaJIT's own do (spec/c/test_patterns.c holds them against those), but ask the
 * watchdog while they work: a pattern like ("a-"):rep(28).."b" takes years, and no debug hook
 * reaches a C function. Plain searches are linear.
 */
#pragma once

#include <lua.h>

/* Puts them in place of those in the global table `string`. */
void patterns_open(lua_State *L);
