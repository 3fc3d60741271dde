#include "bind/postgres_call.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/postgres.h"
#include "vm/task.h"

/* --- answers --- */

static struct postgres_call *call_of(const struct sql_call *call)
{
    return (struct postgres_call *)((char *)(uintptr_t)call - offsetof(struct postgres_call, call));
}

static void free_call(struct sql_call *base)
{
    struct postgres_call *call = call_of(base);

    sql_call_fini(base);
    postgres_request_fini(&call->request);
    free(call);
}

static void set_field(lua_State *L, const char *name, const char *value)
{
    if (!value)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void postgres_push_error(lua_State *L, const struct postgres_error *error, const char *statement)
{
    sql_push_error(L, error->code, error->message, statement, error->position);
    set_field(L, "detail", error->detail);
    set_field(L, "hint", error->hint);
    set_field(L, "constraint", error->constraint);
}

static void push_error(lua_State *L, const struct sql_call *base)
{
    const struct postgres_request *request = &call_of(base)->request;

    postgres_push_error(L, &request->error, request->sql);
}

static void push_changes(lua_State *L, const struct sql_call *base)
{
    lua_createtable(L, 0, 1);
    sql_push_integer(L, call_of(base)->request.changes);
    lua_setfield(L, -2, "changes");
}

static const struct sql_call_ops ops = {push_error, push_changes, free_call};

static void begun(struct postgres_call *call)
{
    lua_State *L = vm_main(call->call.vm);

    lua_rawgeti(L, LUA_REGISTRYINDEX, call->call.anchor);
    ((struct postgres_tx *)lua_touserdata(L, -1))->id = call->request.transaction;
    lua_pop(L, 1);
}

static void answer(struct postgres_call *call)
{
    const struct postgres_request *r = &call->request;
    const struct sql_rows rows = {r->names.data, r->column_count, r->row_count, r->cells.data, 0};

    if (r->verb == POSTGRES_BEGIN)
        begun(call);
    if (r->verb <= POSTGRES_EXEC)
        sql_call_answer(&call->call, &rows);
    else
        sql_call_answer_value(&call->call);
}

static void done(struct postgres_request *request)
{
    struct postgres_call *call = (struct postgres_call *)request;

    if (!call->call.task) {
        free_call(&call->call);
        return;
    }
    if (call->tx)
        call->tx->ended = true;
    if (request->ok)
        answer(call);
    else
        sql_call_answer_error(&call->call);
}

/* --- calls --- */

/* The task is cancelled. */
static void undo(void *arg)
{
    struct postgres_call *call = arg;
    lua_State *L = vm_main(call->call.vm);
    const int anchor = call->call.anchor;

    if (sql_call_leave(&call->call))
        postgres_cancel(&call->request); /* may free it */
    luaL_unref(L, LUA_REGISTRYINDEX, anchor);
}

struct postgres_call *postgres_call_new(lua_State *L, enum postgres_verb verb)
{
    struct postgres_call *call = mem_alloc(sizeof(*call));

    call->request.verb = verb;
    call->request.done = done;
    sql_call_init(&call->call, L, &ops);
    call->call.answer = verb == POSTGRES_ROWS    ? SQL_ANSWER_ROWS
                        : verb == POSTGRES_FIRST ? SQL_ANSWER_FIRST
                                                 : SQL_ANSWER_CHANGES;
    return call;
}

int postgres_call_wait(lua_State *L, struct postgres_call *call)
{
    return task_wait(L, undo, call);
}

static void forget(struct postgres_request *request)
{
    free_call(&((struct postgres_call *)request)->call);
}

void postgres_call_abandon(struct postgres_call *call)
{
    call->call.task = NULL;
    call->request.cancelled = true;
    call->request.done = forget;
}
