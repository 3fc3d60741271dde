/* What the pipeline needs to know of a call's stack, so that it need not know Lua. */
#pragma once

#include <stdbool.h>

#include <lua.h>

struct exchange;
struct instance;

/* What an entry of lua/buntime/plugin.lua returns. */
enum bind_result { BIND_NOT_MINE, BIND_GO_ON, BIND_ANSWERED };

/* The result of the finished task whose state this is. */
enum bind_result bind_result(lua_State *L);

/* If the error value on top is a table with an integer `status` (400 to 599), fills in that answer
 * in the error shape, from its `code` and `message`.
 */
bool bind_error_response(lua_State *L, struct exchange *x);

/* Pushes the `app` that hooks are told of: a table, or nil for NULL. */
void bind_push_app(lua_State *L, const struct instance *target);
