/* How a function of a core module says that it was called wrongly: nil and a message, which the
 * library raises at the line of the plugin's code.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

/* Pushes both; `return misuse(…), 2` or, where a bool is asked for, `return misuse(…)`: false. */
bool misuse(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The userdata at `index`, NULL if it is no `type`. */
void *userdata_of(lua_State *L, int index, const char *type);

/* Makes the metatable of `type`, with `collect` as __gc and an empty table of methods, which the
 * library fills: it becomes `field` of the module on top.
 */
void add_class(lua_State *L, const char *type, const char *field, lua_CFunction collect);
