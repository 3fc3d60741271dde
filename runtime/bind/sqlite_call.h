/* Calls of buntime.core.sqlite: a request on its way, with the task that waits for it.
 *
 * A call frees itself: once it has answered its task, or, when the task was cancelled meanwhile, in
 * the request's `done`, which then touches no VM any more.
 */
#pragma once

#include <lua.h>

#include "bind/sql_call.h"
#include "data/sqlite.h"
#include "vm/vm.h"

/* The Lua value of a database. */
struct sqlite_lua {
    struct resource resource;
    struct sqlite *db;   /* NULL: closed */
    struct task *holder; /* of transaction `held` */
    uint64_t held;
};

/* That of a transaction. */
struct sqlite_lua_tx {
    struct sqlite_lua *owner; /* kept alive by the value's environment */
    uint64_t id;              /* 0: not begun */
};

struct sqlite_call {
    struct sqlite_request request; /* first: done() casts back */
    struct sql_call call;
    struct sqlite_lua *owner; /* valid while the task waits */
};

void sqlite_lua_close(struct sqlite_lua *db); /* no-op when it is closed */

/* For the running task. */
struct sqlite_call *sqlite_call_new(lua_State *L, struct sqlite_lua *owner, enum sqlite_verb verb);

/* After it was submitted: `return sqlite_call_wait(L, call);` */
int sqlite_call_wait(lua_State *L, struct sqlite_call *call);

/* Nobody waits for it; before it is submitted. */
void sqlite_call_abandon(struct sqlite_call *call);
