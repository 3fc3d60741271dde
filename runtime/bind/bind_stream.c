/* buntime.core.stream: a response whose body a Lua function writes.
 *
 * The value that new() makes travels in the response; request_respond() ties it to the exchange.
 * Once the head is out the function runs in a task of its own, with that value as its argument.
 * A stream keeps its instance from being shut down, but no generation.
 *
 * A write is handed on at once if the client has taken the one before, else it waits for that.
 * Writers of other tasks queue up in `pending`.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "bind/live_value.h"
#include "bind/request.h"
#include "bind/stream.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.stream"

enum { PENDING_MAX = 4 * 1024 * 1024 };

static const char kind[] = "stream";

/* The Lua value. Its environment is the table given to new(), with the function at 1. */
struct stream_value {
    struct live_value live; /* first */
    uint64_t heartbeat_ms;
};

struct waiter {
    struct task *task;
    struct stream *stream;
    struct waiter *prev, *next;
};

struct stream {
    struct exchange_source source; /* first: start() and drop() cast back */
    struct resource resource;
    struct timer heartbeat;
    uint64_t heartbeat_ms; /* 0: no events but a plain stream */
    struct vm *vm;
    struct instance *instance; /* NULL in tests */
    struct exchange *x;        /* NULL once it is over */
    struct bind_request *request;
    struct task *task;
    struct handle *handle;
    int value; /* registry reference */
    struct buf pending;
    struct waiter *waiters;
    bool started, busy, ending;
    unsigned refs; /* the exchange, the task, and whoever is at work */
    char request_id[132], trace[56];
};

/* --- its life --- */

static void unref(struct stream *s)
{
    struct instance *in = s->instance;

    if (--s->refs > 0)
        return;
    ledger_remove(&s->resource);
    handle_sever(&s->handle);
    luaL_unref(vm_main(s->vm), LUA_REGISTRYINDEX, s->value);
    buf_fini(&s->pending);
    free(s);
    if (!in)
        return;
    plugins_call_done(in);
    instance_unref(in);
}

static void add_waiter(struct stream *s, struct waiter *w)
{
    struct waiter *last = s->waiters;

    while (last && last->next)
        last = last->next;
    w->prev = last;
    *(last ? &last->next : &s->waiters) = w;
}

static void remove_waiter(struct waiter *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        w->stream->waiters = w->next;
    if (w->next)
        w->next->prev = w->prev;
}

static void stop_waiting(void *arg)
{
    remove_waiter(arg);
    free(arg);
}

/* Those that come while this runs are for the next time. */
static void wake_waiters(struct stream *s, bool taken)
{
    size_t count = 0;

    for (struct waiter *w = s->waiters; w; w = w->next)
        count++;
    while (count-- > 0 && s->waiters) {
        struct task *task = s->waiters->task;
        stop_waiting(s->waiters);
        lua_pushboolean(task_state(task), taken);
        task_resume(task, 1);
    }
}

/* The exchange is over, or was told so: nothing is left of it here. */
static void detach(struct stream *s)
{
    s->x = NULL;
    timer_stop(&s->heartbeat);
    bind_request_release(s->request);
    s->request = NULL;
}

static void leave_exchange(struct stream *s)
{
    detach(s);
    wake_waiters(s, false);
    unref(s);
}

/* --- sending --- */

static void taken(void *arg);

static void submit(struct stream *s, struct str bytes)
{
    s->busy = true;
    if (exchange_stream_write(s->x, bytes, taken, s))
        s->busy = false;
}

static void finish(struct stream *s)
{
    exchange_stream_end(s->x);
    leave_exchange(s);
}

static void taken(void *arg)
{
    struct stream *s = arg;

    s->refs++;
    s->busy = false;
    if (s->pending.len) {
        submit(s, buf_str(&s->pending));
        buf_fini(&s->pending);
    }
    if (s->ending)
        finish(s);
    else
        wake_waiters(s, true);
    unref(s);
}

static void beat(struct timer *timer)
{
    struct stream *s = (struct stream *)((char *)timer - offsetof(struct stream, heartbeat));

    timer_start(vm_loop(s->vm), timer, s->heartbeat_ms);
    if (!s->busy)
        submit(s, STR(":\n\n"));
}

static void abort_stream(struct stream *s)
{
    exchange_stream_abort(s->x);
    leave_exchange(s);
}

/* --- the function --- */

static void keep_error(struct stream *s, lua_State *L)
{
    const bool enforced = vm_relax(s->vm);

    lua_pushvalue(L, -1);
    s->request->error = luaL_ref(L, LUA_REGISTRYINDEX);
    vm_restore(s->vm, enforced);
}

static void tell_error(struct stream *s, struct task *task, const struct err *err)
{
    if (s->instance)
        plugins_fault(s->instance, err, "stream", s->request_id);
    else if (s->request)
        keep_error(s, task_state(task));
}

static void function_done(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct stream *s = arg;

    s->task = NULL;
    if (!ok && !task_cancelled(task))
        tell_error(s, task, err);
    if (s->x && !ok)
        abort_stream(s);
    else if (s->x && s->pending.len)
        s->ending = true;
    else if (s->x)
        finish(s);
    unref(s);
}

static void push_function(lua_State *L, const struct stream *s)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->value);
    lua_getfenv(L, -1);
    lua_rawgeti(L, -1, 1);
    lua_insert(L, -3);
    lua_pop(L, 1); /* function value */
}

static void start(struct exchange_source *source, struct exchange *x)
{
    struct stream *s = (struct stream *)source;
    struct err err;

    s->x = x;
    s->started = true;
    s->task = task_new(s->vm, &err);
    if (!s->task) {
        vm_report(s->vm, &err);
        abort_stream(s);
        return;
    }
    if (s->heartbeat_ms && vm_loop(s->vm))
        timer_start(vm_loop(s->vm), &s->heartbeat, s->heartbeat_ms);
    push_function(task_state(s->task), s);
    task_set_request_id(s->task, s->request_id);
    task_set_trace(s->task, *s->trace ? s->trace : NULL);
    s->refs++;
    task_start(s->task, 1, function_done, s);
}

static void end_early(struct stream *s, const char *reason)
{
    s->refs++;
    detach(s);
    if (s->task) /* before the others: its own write raises, theirs give nil */
        task_cancel(s->task, reason);
    wake_waiters(s, false);
    unref(s);
    unref(s);
}

static void drop(struct exchange_source *source)
{
    end_early((struct stream *)source, "the client is gone");
}

static struct stream *stream_of(struct resource *resource)
{
    return (struct stream *)((char *)resource - offsetof(struct stream, resource));
}

/* With the VM, whose tasks are gone already. */
static void close_resource(struct resource *resource)
{
    struct stream *s = stream_of(resource);

    ledger_remove(resource);
    if (!s->x)
        return;
    if (s->started)
        exchange_stream_abort(s->x);
    else
        exchange_res_set_source(s->x, NULL);
    leave_exchange(s);
}

static struct stream *first_open(struct vm *vm, bool events_only)
{
    struct resource *r = (struct resource *)ledger_first(vm);

    for (; r; r = r->next) {
        struct stream *s = r->kind == kind ? stream_of(r) : NULL;
        if (s && s->x && s->started && (s->heartbeat_ms || !events_only))
            return s;
    }
    return NULL;
}

void bind_streams_cut(struct vm *vm, const char *reason)
{
    struct stream *s;

    while (vm && (s = first_open(vm, false))) {
        exchange_stream_abort(s->x);
        end_early(s, reason);
    }
}

void bind_streams_end_events(struct vm *vm, const char *reason)
{
    struct stream *s;

    while (vm && (s = first_open(vm, true))) {
        exchange_stream_end(s->x);
        end_early(s, reason);
    }
}

/* --- the response's side --- */

static void copy_id(struct stream *s, struct str id, const struct task *task)
{
    if (task && task_trace(task))
        snprintf(s->trace, sizeof(s->trace), "%s", task_trace(task));
    snprintf(s->request_id, sizeof(s->request_id), "%.*s", (int)id.len, id.at);
}

/* The value at `index` becomes the body of the request's response. */
static void attach(lua_State *L, int index, struct bind_request *request)
{
    struct stream_value *value = lua_touserdata(L, index);
    struct stream *s;
    const int reference = live_value_use(L, index, "a stream");

    s = mem_alloc(sizeof(*s));
    s->source = (struct exchange_source){.length = SIZE_MAX, .start = start, .drop = drop};
    s->resource.kind = kind;
    s->resource.close = close_resource;
    s->heartbeat.fire = beat;
    s->heartbeat_ms = value->heartbeat_ms;
    s->vm = vm_of(L);
    s->instance = vm_host(s->vm);
    s->x = request->x;
    s->request = request;
    s->value = reference;
    s->refs = 1;
    copy_id(s, exchange_id(request->x), task_current(L));
    snprintf(s->resource.label, sizeof(s->resource.label), "%.40s", s->request_id);
    if (s->instance)
        instance_ref(s->instance)->calls++;
    bind_request_hold(request);
    ledger_add(s->vm, &s->resource);
    handle_link(&value->live.handle, s, &s->handle);
    exchange_res_set_source(request->x, &s->source);
}

/* new(fn, fields, heartbeat): `fields` are what the value shows besides its methods */
static int new_stream(lua_State *L)
{
    const lua_Number heartbeat = luaL_optnumber(L, 3, 0);
    struct stream_value *value;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, heartbeat >= 0 && heartbeat < 1e9, 3, "seconds expected");
    value = lua_newuserdata(L, sizeof(*value));
    memset(value, 0, sizeof(*value));
    value->live.base = (struct response_source){response_source_magic(), attach};
    value->heartbeat_ms = (uint64_t)ceil(heartbeat * 1000);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, 1);
    lua_pushvalue(L, 2);
    lua_setfenv(L, -2);
    return 1;
}

/* --- the function's side --- */

static struct stream *check(lua_State *L)
{
    const struct stream_value *value = luaL_checkudata(L, 1, TYPE);
    struct stream *s = value->live.handle.object;

    return s && s->x && s->started ? s : NULL;
}

static int answer(lua_State *L, bool taken_by_client)
{
    lua_pushboolean(L, 1);
    lua_pushboolean(L, taken_by_client);
    return 2;
}

static int wait_turn(lua_State *L, struct stream *s)
{
    struct waiter *w;

    if (!task_current(L))
        return answer(L, true);
    w = mem_alloc(sizeof(*w));
    w->task = task_current(L);
    w->stream = s;
    add_waiter(s, w);
    return task_wait(L, stop_waiting, w);
}

/* write(stream, bytes): waits until the client took what was written before. Gives false when it is
 * gone.
 */
static int write_bytes(lua_State *L)
{
    struct stream *s = check(L);
    struct str bytes;

    bytes.at = luaL_checklstring(L, 2, &bytes.len);
    if (!s && task_current(L) && task_cancelled(task_current(L)))
        return task_wait(L, NULL, NULL); /* raises: a loop that looks at nothing must end */
    if (!s || s->ending)
        return answer(L, false);
    if (!s->busy) {
        s->refs++;
        submit(s, bytes);
        const bool open = s->x != NULL;
        unref(s);
        return answer(L, open);
    }
    if (s->pending.len && s->pending.len + bytes.len > PENDING_MAX)
        return luaL_error(L, "the client reads too slowly: %d bytes wait for it already",
                          (int)s->pending.len);
    buf_add_str(&s->pending, bytes);
    return wait_turn(L, s);
}

/* Methods, `closed`, and the fields given to new(). */
static int index_value(lua_State *L)
{
    return live_value_index(L, check(L) == NULL);
}

static const luaL_Reg functions[] = {
    {"new", new_stream},
    {"write", write_bytes},
    {NULL, NULL},
};

int bind_stream_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_newtable(L); /* module methods */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "methods");
    live_value_class(L, TYPE, "stream", index_value);
    lua_pop(L, 2);
    return 1;
}
