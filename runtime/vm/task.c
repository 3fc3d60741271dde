#include "vm/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/call.h"
#include "vm/vm_impl.h"

enum { NESTING_MAX = 100 };

enum state { READY, RUNNING, WAITING, DONE };

struct task {
    struct vm *vm;
    lua_State *co;
    int ref; /* keeps the coroutine */
    enum state state;
    void (*undo)(void *arg);
    void *undo_arg;
    task_done *done;
    void *done_arg;
    const char *request_id, *trace, *phase;
    char *cancel; /* the reason, once cancelled */
    struct task *prev, *next;
};

/* Tasks of several VMs run inside each other (one calls another's service): the C stack bounds
 * how deep. One loop, one thread.
 */
static unsigned nesting;

static int make_thread(lua_State *L, void *arg)
{
    struct task *task = arg;

    task->co = lua_newthread(L);
    task->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct task *task_new(struct vm *vm, struct err *err)
{
    struct task *task = vm->idle;

    if (task) {
        vm->idle = task->next;
        vm->idle_count--;
    } else {
        task = mem_alloc(sizeof(*task));
        task->vm = vm;
        if (!vm_protect(vm->L, make_thread, task, 0, err)) {
            free(task);
            return NULL;
        }
    }
    task->state = READY;
    task->request_id = task->trace = NULL;
    task->phase = NULL;
    task->prev = NULL;
    task->next = vm->tasks;
    if (vm->tasks)
        vm->tasks->prev = task;
    vm->tasks = task;
    vm->task_count++;
    return task;
}

static void unlink_task(struct task *task)
{
    struct vm *vm = task->vm;

    if (task->prev)
        task->prev->next = task->next;
    else
        vm->tasks = task->next;
    if (task->next)
        task->next->prev = task->prev;
    vm->task_count--;
}

static void destroy(struct task *task)
{
    luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->ref);
    free(task->cancel);
    free(task);
}

/* Puts the task away: its coroutine is used again unless it died or there are enough. */
static void retire(struct task *task, bool reusable)
{
    struct vm *vm = task->vm;

    unlink_task(task);
    free(task->cancel);
    task->cancel = NULL;
    if (!reusable || vm->idle_count >= TASK_POOL_MAX) {
        destroy(task);
        return;
    }
    lua_settop(task->co, 0);
    task->next = vm->idle;
    vm->idle = task;
    vm->idle_count++;
}

void task_discard(struct task *task)
{
    retire(task, true);
}

lua_State *task_state(struct task *task)
{
    return task->co;
}

struct vm *task_vm(struct task *task)
{
    return task->vm;
}

void task_set_request_id(struct task *task, const char *request_id)
{
    task->request_id = request_id;
}

const char *task_request_id(const struct task *task)
{
    return task->request_id;
}

void task_set_trace(struct task *task, const char *traceparent)
{
    task->trace = traceparent;
}

const char *task_trace(const struct task *task)
{
    return task->trace;
}

void task_set_phase(struct task *task, const char *phase)
{
    task->phase = phase;
    if (task->state == RUNNING)
        watchdog_show(task->vm);
}

const char *task_phase(const struct task *task)
{
    return task->phase;
}

struct task *task_current(lua_State *L)
{
    return vm_of(L)->running;
}

bool task_waiting(const struct task *task)
{
    return task->state == WAITING;
}

bool task_cancelled(const struct task *task)
{
    return task->cancel != NULL;
}

static void finish(struct task *task, bool ok, const struct err *err)
{
    if (task->state == WAITING && task->undo)
        task->undo(task->undo_arg); /* dropped while it waits, or it kept its yield to itself */
    task->state = DONE;
    if (task->done)
        task->done(task, ok, err, task->done_arg);
    retire(task, ok);
}

static void fail(struct task *task)
{
    struct vm *vm = task->vm;
    struct err err;

    vm_error(task->co, lua_gettop(task->co), task->co, &err);
    finish(task, false, &err);
    if (strcmp(err.code, "OUT_OF_MEMORY") == 0)
        vm->collect = true; /* what filled it hung on this coroutine until now */
}

static void fail_with(struct task *task, const struct err *expired)
{
    const struct err err = *expired; /* `done` may run Lua, which may set it anew */

    lua_pushstring(task->co, err.message);
    finish(task, false, &err);
}

static void fail_text(struct task *task, const char *code, const char *message)
{
    struct err err;

    err_set(&err, code, "%s", message);
    lua_pushstring(task->co, message);
    finish(task, false, &err);
}

static void run(struct task *task, int nargs)
{
    struct vm *vm = task->vm;
    struct task *outer = vm->running;
    struct vm_entry entry;
    const struct err *expired;
    int rc;

    if (nesting >= NESTING_MAX) {
        fail_text(task, "TOO_DEEP", "tasks and services start each other too deeply (100 levels)");
        return;
    }
    nesting++;
    vm->running = task;
    task->state = RUNNING;
    vm_enter(vm, &entry);
    rc = lua_resume(task->co, nargs);
    vm->running = outer;
    expired = vm_leave(&entry);
    nesting--;

    if (expired && rc != LUA_YIELD)
        fail_with(task, expired);
    else if (rc == 0)
        finish(task, true, NULL);
    else if (rc != LUA_YIELD)
        fail(task);
    else if (task->state != WAITING)
        fail_text(task, "LUA_ERROR", "attempt to yield outside of a coroutine");
    else
        lua_settop(task->co, 0); /* the token */
}

void task_start(struct task *task, int nargs, task_done *done, void *arg)
{
    task->done = done;
    task->done_arg = arg;
    run(task, nargs);
}

void task_forget(struct task *task)
{
    task->done = NULL;
}

const char *task_unable(lua_State *L)
{
    const struct task *task = task_current(L);

    if (!task)
        return "no task is running";
    if (task->state == WAITING)
        return "this task waits already";
    return lua_isyieldable(L) ? NULL : "a C function, such as table.sort, is in between";
}

int task_wait(lua_State *L, void (*undo)(void *arg), void *arg)
{
    struct task *task = task_current(L);

    if (!task)
        return luaL_error(L, "cannot wait here: %s", task_unable(L));
    if (task->cancel) {
        if (undo)
            undo(arg);
        lua_pushboolean(L, 0);
        lua_pushstring(L, task->cancel);
        return 2;
    }
    if (task_unable(L)) {
        if (undo)
            undo(arg);
        return luaL_error(L, "cannot wait here: %s", task_unable(L));
    }
    task->state = WAITING;
    task->undo = undo;
    task->undo_arg = arg;
    lua_pushlightuserdata(L, task_wait_token());
    return lua_yield(L, 1);
}

void *task_wait_token(void)
{
    static char token;

    return &token;
}

void task_resume(struct task *task, int nvalues)
{
    lua_pushboolean(task->co, 1);
    lua_insert(task->co, -(nvalues + 1));
    run(task, nvalues + 1);
}

void task_resume_error(struct task *task)
{
    lua_pushboolean(task->co, 0);
    lua_insert(task->co, -2);
    run(task, 2);
}

struct task_answer
task_prepare(struct task *task, int (*push)(lua_State *L, void *arg), void *arg, int count)
{
    struct task_answer answer = {task, count};
    struct err err;
    lua_State *L;

    if (!task)
        return answer;
    L = vm_main(task->vm);
    if (vm_protect(L, push, arg, count, &err)) {
        lua_xmove(L, task->co, count);
    } else {
        lua_pushstring(task->co, err.message);
        answer.count = -1;
    }
    return answer;
}

void task_answer(struct task_answer answer)
{
    if (answer.task && answer.count < 0)
        task_resume_error(answer.task);
    else if (answer.task)
        task_resume(answer.task, answer.count);
}

void task_cancel(struct task *task, const char *reason)
{
    if (task->state == DONE || task->cancel)
        return;
    task->cancel = mem_copy(reason);
    if (task->state != WAITING)
        return;
    if (task->undo)
        task->undo(task->undo_arg);
    lua_pushstring(task->co, reason);
    task_resume_error(task);
}

/* Ends a task that waits although it was cancelled. */
static void drop(struct task *task)
{
    struct err err;

    err_set(&err, "CANCELLED", "%s", task->cancel ? task->cancel : "cancelled");
    lua_pushstring(task->co, err.message);
    finish(task, false, &err);
}

static struct task *first_in(struct vm *vm, enum state state, bool cancelled)
{
    for (struct task *task = vm->tasks; task; task = task->next) {
        if (task->state == state && (task->cancel != NULL) == cancelled)
            return task;
    }
    return NULL;
}

void tasks_cancel_all(struct vm *vm, const char *reason)
{
    struct task *task;

    while ((task = first_in(vm, WAITING, false)))
        task_cancel(task, reason);
    while ((task = first_in(vm, WAITING, true)))
        drop(task);
}

void tasks_free(struct vm *vm)
{
    while (vm->idle) {
        struct task *task = vm->idle;
        vm->idle = task->next;
        destroy(task);
    }
    vm->idle_count = 0;
}

unsigned tasks_open(const struct vm *vm)
{
    return vm->task_count;
}
