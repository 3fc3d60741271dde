/* buntime.core.timer: sleep, and functions that run later.
 *
 * A timer keeps itself and its function alive until it has fired for the last time or is stopped;
 * the Lua value may be dropped without stopping it. Each firing is a task of its own.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/caller.h"
#include "ev/loop.h"
#include "vm/handle.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.timer"

enum { OPEN_MAX = 10000 }; /* resources that a VM may hold when it asks for another timer */

static uint64_t check_seconds(lua_State *L, int arg)
{
    static const double most = 1e9; /* 31 years, and far from any overflow */
    const lua_Number seconds = luaL_checknumber(L, arg);

    luaL_argcheck(L, seconds >= 0, arg, "seconds must be a number that is not negative");
    return (uint64_t)ceil((seconds < most ? seconds : most) * 1000);
}

static struct loop *check_loop(lua_State *L)
{
    struct loop *loop = vm_loop(vm_of(L));

    if (!loop)
        luaL_error(L, "there are no timers here: nothing turns an event loop");
    return loop;
}

/* --- sleep --- */

struct sleeper {
    struct timer timer; /* first: wake() casts back */
    struct task *task;
};

static void wake(struct timer *timer)
{
    struct sleeper *sleeper = (struct sleeper *)timer;
    struct task *task = sleeper->task;

    free(sleeper);
    task_resume(task, 0);
}

static void stop_sleeping(void *arg)
{
    struct sleeper *sleeper = arg;

    timer_stop(&sleeper->timer);
    free(sleeper);
}

/* sleep(seconds): waits */
static int sleep_for(lua_State *L)
{
    const uint64_t ms = check_seconds(L, 1);
    struct loop *loop = check_loop(L);
    struct sleeper *sleeper;

    if (!task_current(L))
        return luaL_error(L, "cannot wait here: no task is running");
    sleeper = mem_alloc(sizeof(*sleeper));
    sleeper->timer.fire = wake;
    sleeper->task = task_current(L);
    timer_start(loop, &sleeper->timer, ms);
    return task_wait(L, stop_sleeping, sleeper);
}

/* --- timers --- */

struct lua_timer {
    struct timer timer; /* first: fire() casts back */
    struct resource resource;
    struct vm *vm;
    struct handle *handle;
    uint64_t period; /* ms; 0: fires once */
    int function;    /* registry reference */
    bool running;    /* the last firing has not ended */
    bool closed;     /* freed when it has */
};

/* Freed at once, or by the firing that still runs. */
static void close_timer(struct lua_timer *t)
{
    timer_stop(&t->timer);
    ledger_remove(&t->resource);
    handle_sever(&t->handle);
    luaL_unref(vm_main(t->vm), LUA_REGISTRYINDEX, t->function);
    t->closed = true;
    if (!t->running)
        free(t);
}

static void close_resource(struct resource *resource)
{
    close_timer((struct lua_timer *)((char *)resource - offsetof(struct lua_timer, resource)));
}

static void fired(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct lua_timer *t = arg;

    t->running = false;
    if (!ok && !task_cancelled(task))
        vm_report(t->vm, err);
    if (t->closed)
        free(t);
}

static void fire(struct timer *timer)
{
    struct lua_timer *t = (struct lua_timer *)timer;
    struct vm *vm = t->vm;
    struct task *task;
    struct err err;

    if (t->period)
        timer_start(vm_loop(vm), timer, t->period);
    if (t->running)
        return;
    task = task_new(vm, &err);
    if (task)
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, t->function);
    t->running = task != NULL;
    if (!t->period)
        close_timer(t); /* frees it if there is no task */
    if (task)
        task_start(task, 0, fired, t);
    else
        vm_report(vm, &err);
}

static int start(lua_State *L, bool repeat)
{
    const uint64_t ms = check_seconds(L, 1);
    struct loop *loop = check_loop(L);
    struct handle *handle;
    struct lua_timer *t;
    int function;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_argcheck(L, !repeat || ms > 0, 1, "the period must be more than 0 seconds");

    if (ledger_count(vm_of(L)) >= OPEN_MAX)
        return luaL_error(L, "too many timers: this plugin has %d open", OPEN_MAX);

    /* Everything that can raise comes before the allocation. */
    handle = handle_new(L, TYPE); /* seconds fn timer */
    lua_pushvalue(L, 2);
    function = luaL_ref(L, LUA_REGISTRYINDEX);
    t = mem_alloc(sizeof(*t));
    t->timer.fire = fire;
    t->vm = vm_of(L);
    t->function = function;
    t->period = repeat ? ms : 0;
    t->resource.kind = "timer";
    t->resource.close = close_resource;
    caller_name(L, 1, t->resource.label, sizeof(t->resource.label));
    ledger_add(t->vm, &t->resource);
    handle_link(handle, t, &t->handle);
    timer_start(loop, &t->timer, ms);
    return 1;
}

/* after(seconds, fn) -> timer */
static int after(lua_State *L)
{
    lua_settop(L, 2);
    return start(L, false);
}

/* every(seconds, fn) -> timer */
static int every(lua_State *L)
{
    lua_settop(L, 2);
    return start(L, true);
}

/* timer:stop() -> whether it was still to fire */
static int stop(lua_State *L)
{
    const struct handle *handle = luaL_checkudata(L, 1, TYPE);
    struct lua_timer *t = handle->object;

    lua_pushboolean(L, t != NULL);
    if (t)
        close_timer(t);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sleep", sleep_for},
    {"after", after},
    {"every", every},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"stop", stop},
    {NULL, NULL},
};

int bind_timer_open(lua_State *L)
{
    handle_register(L, TYPE, methods);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
