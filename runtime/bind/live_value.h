/* The Lua value of something that outlives its request: a stream or a socket. A userdata that
 * begins with struct live_value and travels in the response as its `source`. It has methods,
 * `closed`, and whatever fields its environment holds.
 */
#pragma once

#include <stdbool.h>

#include <lua.h>

#include "bind/request.h"
#include "vm/handle.h"

struct live_value {
    struct response_source base; /* first: request_respond() looks at it */
    struct handle handle;
    bool used; /* it is the answer to a request */
};

/* Marks it as used and gives a reference that keeps it. Raises when it is used already: `what`
 * cannot be the answer to two requests.
 */
int live_value_use(lua_State *L, int index, const char *what);

/* The methods are at the top, and stay: makes the metatable of `type`, which is called `name`, and
 * pushes it. Of its own such a type has `index`, which ends with `return live_value_index(…)`.
 */
void live_value_class(lua_State *L, const char *type, const char *name, lua_CFunction index);

int live_value_index(lua_State *L, bool closed);
