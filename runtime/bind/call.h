/* What the pipeline needs to know of a call's stack, so that it need not know Lua. */
#pragma once

#include <stdbool.h>

#include <lua.h>

#include "base/str.h"

struct app;
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

enum bind_kind { BIND_PLUGIN, BIND_WORKER, BIND_STATIC };

/* Who answers, or is going to: a plugin, an app of RUNTIME_WORKER_DIRS, or nobody. */
struct bind_target {
    const struct instance *in;
    const struct app *app;
    struct str base; /* of an app: as the request's path has it */
    enum bind_kind kind;
};

/* Pushes the `app` that hooks are told of: a table, or nil for nobody. */
void bind_push_app(lua_State *L, const struct bind_target *target);

/* The same for an app as such, which no request has a path for. */
void bind_push_worker_app(lua_State *L, const struct app *app);
