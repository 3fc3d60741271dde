#include "bind/sqlite_call.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/task.h"

void sqlite_lua_close(struct sqlite_lua *db)
{
    struct sqlite *sqlite = db->db;

    if (!sqlite)
        return;
    db->db = NULL;
    ledger_remove(&db->resource);
    sqlite_close(sqlite);
}

/* --- answers --- */

static struct sqlite_call *call_of(const struct sql_call *call)
{
    return (struct sqlite_call *)((char *)(uintptr_t)call - offsetof(struct sqlite_call, call));
}

static void free_call(struct sql_call *base)
{
    struct sqlite_call *call = call_of(base);

    sql_call_fini(base);
    sqlite_request_fini(&call->request);
    free(call);
}

static void push_error(lua_State *L, const struct sql_call *base)
{
    const struct sqlite_request *request = &call_of(base)->request;
    const struct sqlite_error *error = &request->error;

    sql_push_error(L, error->code, error->message,
                   error->statement ? error->statement : request->sql, error->position);
}

static void push_changes(lua_State *L, const struct sql_call *base)
{
    const struct sqlite_request *request = &call_of(base)->request;

    lua_createtable(L, 0, 2);
    sql_push_integer(L, request->changes);
    lua_setfield(L, -2, "changes");
    if (request->last_id != 0) {
        sql_push_integer(L, request->last_id);
        lua_setfield(L, -2, "last_id");
    }
}

static const struct sql_call_ops ops = {push_error, push_changes, free_call};

static void begun(struct sqlite_call *call)
{
    struct sqlite_lua_tx *tx;
    lua_State *L = vm_main(call->call.vm);

    lua_rawgeti(L, LUA_REGISTRYINDEX, call->call.anchor);
    tx = lua_touserdata(L, -1);
    tx->id = call->request.transaction;
    call->owner->held = tx->id;
    call->owner->holder = call->call.task;
    lua_pop(L, 1);
}

static void answer(struct sqlite_call *call)
{
    const struct sqlite_request *r = &call->request;
    const struct sql_rows rows = {r->names.data, r->column_count, r->row_count, r->cells.data, 0};

    if (r->verb == VERB_BEGIN)
        begun(call);
    if (r->verb == VERB_ROWS || r->verb == VERB_FIRST || r->verb == VERB_EXEC)
        sql_call_answer(&call->call, &rows);
    else
        sql_call_answer_value(&call->call);
}

static void done(struct sqlite_request *request)
{
    struct sqlite_call *call = (struct sqlite_call *)request;

    if (!call->call.task) {
        free_call(&call->call);
    } else if (request->ok) {
        answer(call);
    } else {
        if (request->verb == VERB_OPEN)
            sqlite_lua_close(call->owner);
        sql_call_answer_error(&call->call);
    }
}

/* --- calls --- */

/* The task is cancelled. */
static void undo(void *arg)
{
    struct sqlite_call *call = arg;
    lua_State *L = vm_main(call->call.vm);
    struct sqlite_lua *opening = call->request.verb == VERB_OPEN ? call->owner : NULL;
    const int anchor = call->call.anchor;

    if (sql_call_leave(&call->call))
        sqlite_cancel(&call->request); /* may free it */
    if (opening)
        sqlite_lua_close(opening);
    luaL_unref(L, LUA_REGISTRYINDEX, anchor);
}

struct sqlite_call *sqlite_call_new(lua_State *L, struct sqlite_lua *owner, enum sqlite_verb verb)
{
    struct sqlite_call *call = mem_alloc(sizeof(*call));

    call->request.verb = verb;
    call->request.done = done;
    call->owner = owner;
    sql_call_init(&call->call, L, &ops);
    call->call.answer = verb == VERB_ROWS    ? SQL_ANSWER_ROWS
                        : verb == VERB_FIRST ? SQL_ANSWER_FIRST
                                             : SQL_ANSWER_CHANGES;
    return call;
}

int sqlite_call_wait(lua_State *L, struct sqlite_call *call)
{
    return task_wait(L, undo, call);
}

static void forget(struct sqlite_request *request)
{
    free_call(&((struct sqlite_call *)request)->call);
}

void sqlite_call_abandon(struct sqlite_call *call)
{
    call->call.task = NULL;
    call->request.cancelled = true;
    call->request.done = forget;
}
