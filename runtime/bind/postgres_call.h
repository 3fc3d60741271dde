/* Calls of buntime.core.postgres: a request on its way, with the task that waits for it.
 *
 * A call frees itself: once it has answered its task, or, when the task was cancelled meanwhile, in
 * the request's `done`, which then touches no VM any more.
 */
#pragma once

#include <lua.h>

#include "bind/sql_call.h"
#include "data/postgres.h"

struct lua_postgres;

/* The Lua value of a transaction. */
struct postgres_tx {
    struct lua_postgres *owner; /* kept alive by the value's environment */
    uint64_t id;                /* 0: not begun */
    bool ended;
};

struct postgres_call {
    struct postgres_request request; /* first: done() casts back */
    struct sql_call call;
    struct postgres_tx *tx; /* whose COMMIT it is; valid while the task waits */
};

/* For the running task. */
struct postgres_call *postgres_call_new(lua_State *L, enum postgres_verb verb);

/* After it was submitted: `return postgres_call_wait(L, call);` */
int postgres_call_wait(lua_State *L, struct postgres_call *call);

/* Nobody waits for it; before it is submitted. */
void postgres_call_abandon(struct postgres_call *call);
