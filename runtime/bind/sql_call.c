#include "bind/sql_call.h"

#include <lauxlib.h>

#include "vm/call.h"
#include "vm/task.h"

/* How much of a result is made into tables in one turn of the loop. */
enum { SLICE_ROWS = 1000, SLICE_BYTES = 256 << 10 };

static void next_slice(struct post *post);

void sql_call_init(struct sql_call *call, lua_State *L, const struct sql_call_ops *ops)
{
    call->ops = ops;
    call->vm = vm_of(L);
    call->task = task_current(L);
    call->anchor = call->list = LUA_NOREF;
    call->slice.run = next_slice;
}

void sql_call_fini(struct sql_call *call)
{
    lua_State *L = call->task ? vm_main(call->vm) : NULL;

    if (!L)
        return;
    luaL_unref(L, LUA_REGISTRYINDEX, call->anchor);
    luaL_unref(L, LUA_REGISTRYINDEX, call->list);
}

static int push_error(lua_State *L, void *arg)
{
    const struct sql_call *call = arg;

    call->ops->push_error(L, call);
    return 1;
}

/* Goes on with the error that is pushed, or with why none could be made. */
static void answer_error(struct sql_call *call, const struct err *err)
{
    struct task *task = call->task;
    lua_State *L = vm_main(call->vm); /* an error on a stack that has yielded would end its wait */
    struct err full;

    if (err)
        lua_pushstring(L, err->message);
    else if (!vm_protect(L, push_error, call, 1, &full))
        lua_pushstring(L, full.message);
    lua_xmove(L, task_state(task), 1);
    call->ops->free(call);
    task_resume_error(task);
}

void sql_call_answer_error(struct sql_call *call)
{
    answer_error(call, NULL);
}

static void push_rows(lua_State *L, struct sql_call *call)
{
    if (call->list == LUA_NOREF)
        sql_push_list(L, call->rows.count < SLICE_ROWS ? call->rows.count : SLICE_ROWS);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->list);
    sql_push_rows(L, &call->rows, SLICE_ROWS, SLICE_BYTES);
    if (call->rows.made < call->rows.count && call->list == LUA_NOREF) {
        lua_pushvalue(L, -1);
        call->list = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

static int push_result(lua_State *L, void *arg)
{
    struct sql_call *call = arg;

    if (call->answer == SQL_ANSWER_CHANGES)
        call->ops->push_changes(L, call);
    else if (call->answer == SQL_ANSWER_FIRST)
        sql_push_row(L, &call->rows);
    else
        push_rows(L, call);
    return 1;
}

static bool is_unfinished(const struct sql_call *call)
{
    return call->answer == SQL_ANSWER_ROWS && call->rows.made < call->rows.count;
}

static void go_on(struct sql_call *call)
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
        call->ops->free(call);
        task_resume(task, 1);
    }
}

static void next_slice(struct post *post)
{
    go_on((struct sql_call *)((char *)post - offsetof(struct sql_call, slice)));
}

void sql_call_answer(struct sql_call *call, const struct sql_rows *rows)
{
    call->rows = *rows;
    go_on(call);
}

void sql_call_answer_value(struct sql_call *call)
{
    struct task *task = call->task;
    const bool has_value = call->anchor != LUA_NOREF;

    if (has_value)
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, call->anchor);
    call->ops->free(call);
    task_resume(task, has_value ? 1 : 0);
}

bool sql_call_leave(struct sql_call *call)
{
    luaL_unref(vm_main(call->vm), LUA_REGISTRYINDEX, call->list);
    call->task = NULL;
    if (call->rows.count == 0)
        return true;
    loop_unpost(vm_loop(call->vm), &call->slice);
    call->ops->free(call);
    return false;
}
