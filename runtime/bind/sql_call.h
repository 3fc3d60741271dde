/* How a call of buntime.core.sqlite or buntime.core.postgres answers the task that waits for it:
 * with rows, a part of them in each turn of the loop, with a value, or with an error.
 *
 * It is part of the call that a module makes, which `ops->free` frees once it is answered.
 */
#pragma once

#include <lua.h>

#include "base/err.h"
#include "bind/sql.h"
#include "ev/loop.h"
#include "vm/vm.h"

struct task;
struct sql_call;

struct sql_call_ops {
    /* Push one value, and may raise. */
    void (*push_error)(lua_State *L, const struct sql_call *call);
    void (*push_changes)(lua_State *L, const struct sql_call *call);
    void (*free)(struct sql_call *call); /* with sql_call_fini() */
};

enum sql_answer { SQL_ANSWER_ROWS, SQL_ANSWER_FIRST, SQL_ANSWER_CHANGES };

struct sql_call {
    const struct sql_call_ops *ops;
    struct vm *vm;
    struct task *task; /* NULL: cancelled, and no VM is touched any more */
    int anchor;        /* reference of the value that the call is to answer, or LUA_NOREF */
    enum sql_answer answer;

    /* sql_call.c's own */
    int list; /* reference of the rows made so far */
    struct post slice;
    struct sql_rows rows;
};

/* For the running task. */
void sql_call_init(struct sql_call *call, lua_State *L, const struct sql_call_ops *ops);
void sql_call_fini(struct sql_call *call);

/* Each frees the call, at once or in a later turn of the loop. */
void sql_call_answer(struct sql_call *call, const struct sql_rows *rows);
void sql_call_answer_value(struct sql_call *call); /* what `anchor` refers to, if anything */
void sql_call_answer_error(struct sql_call *call);

/* The task is cancelled. True: the request is still under way, and
 * still under way, and to be cancelled by the caller.
 */
bool sql_call_leave(struct sql_call *call);
