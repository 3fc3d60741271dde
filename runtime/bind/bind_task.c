/* buntime.core.task: functions that run beside the one that started them.
 *
 * The Lua value of a task is this file's struct, kept alive by the registry while the task runs.
 * How it ended is in a table, the value's environment: { values..., n = count } or { error, n = 1
 * }, so it can be asked for at any time later. Whoever waits is woken on a later turn of the loop,
 * never from inside the task that ended.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "ev/loop.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.task"

enum {
    ARGS_MAX = 16,
    WAIT_MAX = 1000, /* tasks that one call waits for */
    REQUEST_ID_SIZE = 129,
    TRACE_SIZE = 56,
};

/* One task that waits for the first of several: a link in the list of each. */
struct wait;

struct link {
    struct wait *wait;
    struct lua_task *on;
    struct link *prev, *next;
};

struct wait {
    struct task *task;
    size_t count;
    struct link links[];
};

struct lua_task {
    struct post settled; /* first: settle() casts back */
    struct vm *vm;
    struct task *task; /* NULL once it has ended */
    struct link *waits;
    struct err *unseen; /* why it failed, until somebody asks or the log is told */
    int anchor;         /* registry reference of the value */
    bool ok;
    bool watched; /* somebody has asked how it ends */
    char request_id[REQUEST_ID_SIZE];
    char trace[TRACE_SIZE];
};

/* --- waits --- */

static void unlink_all(struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++) {
        struct link *link = &wait->links[i];

        if (link->prev)
            link->prev->next = link->next;
        else
            link->on->waits = link->next;
        if (link->next)
            link->next->prev = link->prev;
    }
}

static void stop_waiting(void *arg)
{
    struct wait *wait = arg;

    unlink_all(wait);
    free(wait);
}

static void link_to(struct wait *wait, struct lua_task *on)
{
    struct link *link = &wait->links[wait->count++];

    *link = (struct link){.wait = wait, .on = on, .next = on->waits};
    if (on->waits)
        on->waits->prev = link;
    on->waits = link;
}

/* --- the end of a task --- */

static void forget(struct lua_task *t)
{
    free(t->unseen);
    t->unseen = NULL;
}

/* On a later turn: wakes who waits, and reports a failure that nobody asked about. */
static void settle(struct post *post)
{
    struct lua_task *t = (struct lua_task *)post;
    struct vm *vm = t->vm;
    const int anchor = t->anchor;

    if (t->unseen && !t->watched)
        vm_report(vm, t->unseen);
    forget(t);
    while (t->waits) {
        struct wait *wait = t->waits->wait;
        struct task *task = wait->task;

        stop_waiting(wait);
        task_resume(task, 0);
    }
    luaL_unref(vm_main(vm), LUA_REGISTRYINDEX, anchor);
}

struct outcome {
    struct lua_task *t;
    lua_State *from;
    int count;
};

/* Moves the values, which are on top of the task's stack, into the table. */
static int keep(lua_State *L, void *arg)
{
    const struct outcome *outcome = arg;

    luaL_checkstack(L, outcome->count + 4, "too many results");
    lua_rawgeti(L, LUA_REGISTRYINDEX, outcome->t->anchor);
    lua_getfenv(L, -1); /* value kept */
    lua_xmove(outcome->from, L, outcome->count);
    for (int i = outcome->count; i > 0; i--)
        lua_rawseti(L, -1 - i, i);
    lua_pushinteger(L, outcome->count);
    lua_setfield(L, -2, "n");
    return 0;
}

static void ended(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct lua_task *t = arg;
    struct outcome outcome = {t, task_state(task), ok ? lua_gettop(task_state(task)) : 1};
    struct err full;

    t->task = NULL;
    t->ok = ok;
    if (!vm_protect(vm_main(t->vm), keep, &outcome, 0, &full)) {
        t->ok = ok = false; /* no memory for the results: there is no n */
        err = &full;
    }
    if (!ok && !task_cancelled(task)) {
        t->unseen = mem_alloc(sizeof(*t->unseen));
        *t->unseen = *err;
    }
    loop_post(vm_loop(t->vm), &t->settled);
}

/* --- the module --- */

static struct lua_task *check_task(lua_State *L, int arg)
{
    return luaL_checkudata(L, arg, TYPE);
}

static struct lua_task *push_task(lua_State *L)
{
    struct task *parent = task_current(L);
    struct lua_task *t = lua_newuserdata(L, sizeof(*t));

    *t = (struct lua_task){.settled = {.run = settle}, .vm = vm_of(L)};
    if (parent && task_request_id(parent))
        snprintf(t->request_id, sizeof(t->request_id), "%s", task_request_id(parent));
    if (parent && task_trace(parent))
        snprintf(t->trace, sizeof(t->trace), "%s", task_trace(parent));
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setfenv(L, -2);
    lua_pushvalue(L, -1);
    t->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return t;
}

/* spawn(fn, ...) -> task: runs until it first waits before this returns */
static int spawn(lua_State *L)
{
    const int count = lua_gettop(L);
    struct lua_task *t;
    struct err err;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_argcheck(L, count <= ARGS_MAX + 1, count, "at most 16 arguments");
    if (!vm_loop(vm_of(L)))
        return luaL_error(L, "there are no tasks here: nothing turns an event loop");
    t = push_task(L); /* fn args.. task */
    lua_insert(L, 1); /* task fn args.. */
    t->task = task_new(t->vm, &err);
    if (!t->task) {
        luaL_unref(L, LUA_REGISTRYINDEX, t->anchor);
        return luaL_error(L, "%s", err.message);
    }
    lua_xmove(L, task_state(t->task), count); /* task */
    if (t->request_id[0])
        task_set_request_id(t->task, t->request_id);
    if (t->trace[0])
        task_set_trace(t->task, t->trace);
    task_start(t->task, count - 1, ended, t);
    return 1;
}

static bool has_ended(lua_State *L, int count)
{
    for (int i = 1; i <= count; i++) {
        if (!check_task(L, i)->task)
            return true;
    }
    return false;
}

/* wait(task, ...): waits until one of them has ended */
static int wait_first(lua_State *L)
{
    const int count = lua_gettop(L);
    struct task *current = task_current(L);
    struct wait *wait;

    luaL_argcheck(L, count > 0 && count <= WAIT_MAX, 1, "expected 1 to 1000 tasks");
    for (int i = 1; i <= count; i++) {
        struct lua_task *t = check_task(L, i);
        luaL_argcheck(L, !t->task || t->task != current, i, "a task cannot wait for itself");
        t->watched = true;
    }
    if (has_ended(L, count)) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (!current)
        return luaL_error(L, "cannot wait here: no task is running");
    wait = mem_alloc(sizeof(*wait) + (size_t)count * sizeof(wait->links[0]));
    wait->task = current;
    for (int i = 1; i <= count; i++)
        link_to(wait, check_task(L, i));
    return task_wait(L, stop_waiting, wait);
}

/* result(task) -> nil while it runs; true, values...; false, error */
static int result(lua_State *L)
{
    struct lua_task *t = check_task(L, 1);
    int count;

    if (t->task)
        return 0;
    t->watched = true;
    lua_settop(L, 1);
    lua_pushboolean(L, t->ok);
    lua_getfenv(L, 1); /* task ok kept */
    lua_getfield(L, 3, "n");
    if (!lua_isnumber(L, -1)) {
        lua_pushliteral(L, "not enough memory for the results of the task");
        lua_replace(L, 3);
        lua_settop(L, 3);
        return 2;
    }
    count = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, count + 1, "too many results");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, 3, i);
    lua_remove(L, 4);
    lua_remove(L, 3); /* task ok values.. */
    return count + 1;
}

/* cancel(task) -> whether it was still running */
static int cancel(lua_State *L)
{
    struct lua_task *t = check_task(L, 1);

    lua_pushboolean(L, t->task != NULL);
    if (t->task)
        task_cancel(t->task, "the task was cancelled");
    return 1;
}

static int collect(lua_State *L)
{
    struct lua_task *t = lua_touserdata(L, 1);

    loop_unpost(vm_loop(t->vm), &t->settled);
    forget(t);
    return 0;
}

static const luaL_Reg functions[] = {
    {"spawn", spawn}, {"wait", wait_first}, {"result", result}, {"cancel", cancel}, {NULL, NULL},
};

int bind_task_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions); /* module */
    luaL_newmetatable(L, TYPE);        /* module mt */
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index"); /* module mt methods */
    lua_setfield(L, -3, "methods"); /* the library adds wait() and cancel() */
    lua_pop(L, 1);
    return 1;
}
