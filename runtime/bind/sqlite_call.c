#include "bind/sqlite_call.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/call.h"
#include "vm/task.h"

/* How much of a result is made into tables in one turn of the loop. */
enum { SLICE_ROWS = 1000, SLICE_BYTES = 256 << 10 };

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

static void free_call(struct sqlite_call *call)
{
    lua_State *L = call->task ? vm_main(call->vm) : NULL;

    if (L) {
        luaL_unref(L, LUA_REGISTRYINDEX, call->anchor);
        luaL_unref(L, LUA_REGISTRYINDEX, call->list);
    }
    sqlite_request_fini(&call->request);
    free(call);
}

static int push_failure(lua_State *L, void *arg)
{
    const struct sqlite_call *call = arg;
    const struct sqlite_error *error = &call->request.error;

    sql_push_error(L, error->code, error->message,
                   error->statement ? error->statement : call->request.sql, error->position);
    return 1;
}

/* Goes on with the error that `push` makes, or with why it could not be made. */
static void answer_error(struct sqlite_call *call, const struct err *err)
{
    struct task *task = call->task;
    lua_State *L = vm_main(call->vm); /* an error on a stack that has yielded would end its wait */
    struct err full;

    if (err)
        lua_pushstring(L, err->message);
    else if (!vm_protect(L, push_failure, call, 1, &full))
        lua_pushstring(L, full.message);
    lua_xmove(L, task_state(task), 1);
    free_call(call);
    task_resume_error(task);
}

static int push_changes(lua_State *L, const struct sqlite_request *r)
{
    lua_createtable(L, 0, 2);
    sql_push_integer(L, r->changes);
    lua_setfield(L, -2, "changes");
    if (r->last_id != 0) {
        sql_push_integer(L, r->last_id);
        lua_setfield(L, -2, "last_id");
    }
    return 1;
}

static int push_result(lua_State *L, void *arg)
{
    struct sqlite_call *call = arg;

    if (call->request.verb == VERB_EXEC)
        return push_changes(L, &call->request);
    if (call->request.verb == VERB_FIRST) {
        sql_push_row(L, &call->rows);
        return 1;
    }
    if (call->list == LUA_NOREF)
        sql_push_list(L, call->rows.count < SLICE_ROWS ? call->rows.count : SLICE_ROWS);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->list);
    sql_push_rows(L, &call->rows, SLICE_ROWS, SLICE_BYTES);
    if (call->rows.made < call->rows.count && call->list == LUA_NOREF) {
        lua_pushvalue(L, -1);
        call->list = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 1;
}

static bool is_unfinished(const struct sqlite_call *call)
{
    return call->request.verb == VERB_ROWS && call->rows.made < call->rows.count;
}

static void answer_rows(struct sqlite_call *call)
{
    struct task *task = call->task;
    lua_State *L = vm_main(call->vm);
    struct err err;

    if (!vm_protect(L, push_result, call, 1, &err)) {
        answer_error(call, &err);
    } else if (is_unfinished(call)) {
        lua_pop(L, 1);
        loop_post(vm_loop(call->vm), &call->slice);
    } else {
        lua_xmove(L, task_state(task), 1);
        free_call(call);
        task_resume(task, 1);
    }
}

static void next_slice(struct post *post)
{
    answer_rows((struct sqlite_call *)((char *)post - offsetof(struct sqlite_call, slice)));
}

static void answer_value(struct sqlite_call *call)
{
    struct task *task = call->task;
    const bool has_value = call->anchor != LUA_NOREF;

    if (has_value)
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, call->anchor);
    free_call(call);
    task_resume(task, has_value ? 1 : 0);
}

static void begun(struct sqlite_call *call)
{
    struct sqlite_lua_tx *tx;
    lua_State *L = vm_main(call->vm);

    lua_rawgeti(L, LUA_REGISTRYINDEX, call->anchor);
    tx = lua_touserdata(L, -1);
    tx->id = call->request.transaction;
    call->owner->held = tx->id;
    call->owner->holder = call->task;
    lua_pop(L, 1);
}

static void done(struct sqlite_request *request)
{
    struct sqlite_call *call = (struct sqlite_call *)request;

    if (!call->task) {
        free_call(call);
        return;
    }
    if (!request->ok) {
        if (request->verb == VERB_OPEN)
            sqlite_lua_close(call->owner);
        answer_error(call, NULL);
        return;
    }
    call->rows = (struct sql_rows){request->names.data, request->column_count, request->row_count,
                                   request->cells.data, 0};
    if (request->verb == VERB_BEGIN)
        begun(call);
    if (request->verb == VERB_ROWS || request->verb == VERB_FIRST || request->verb == VERB_EXEC)
        answer_rows(call);
    else
        answer_value(call);
}

/* --- calls --- */

/* The task is cancelled. */
static void undo(void *arg)
{
    struct sqlite_call *call = arg;
    lua_State *L = vm_main(call->vm);
    struct sqlite_lua *opening = call->request.verb == VERB_OPEN ? call->owner : NULL;
    const int anchor = call->anchor;
    const bool making = call->rows.count > 0;

    luaL_unref(L, LUA_REGISTRYINDEX, call->list);
    call->task = NULL;
    if (making) {
        loop_unpost(vm_loop(call->vm), &call->slice);
        free_call(call);
    } else {
        sqlite_cancel(&call->request); /* may free it */
    }
    if (opening)
        sqlite_lua_close(opening);
    luaL_unref(L, LUA_REGISTRYINDEX, anchor);
}

struct sqlite_call *sqlite_call_new(lua_State *L, struct sqlite_lua *owner, enum sqlite_verb verb)
{
    struct sqlite_call *call = mem_alloc(sizeof(*call));

    call->request.verb = verb;
    call->request.done = done;
    call->vm = vm_of(L);
    call->task = task_current(L);
    call->owner = owner;
    call->anchor = call->list = LUA_NOREF;
    call->slice.run = next_slice;
    return call;
}

int sqlite_call_wait(lua_State *L, struct sqlite_call *call)
{
    return task_wait(L, undo, call);
}

static void forget(struct sqlite_request *request)
{
    free_call((struct sqlite_call *)request);
}

void sqlite_call_abandon(struct sqlite_call *call)
{
    call->task = NULL;
    call->request.cancelled = true;
    call->request.done = forget;
}
