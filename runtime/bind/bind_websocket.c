/* buntime.core.websocket: sockets as Lua sees them.
 *
 * The value that new() makes travels in the response; once the upgrade is under way its function is
 * called for one event after the other: fn(socket, "open"), (…, "message", data, binary),
 * (…, "close", code, reason), (…, "drain"). While a call waits the socket is not read.
 * A socket keeps its instance from being shut down, but no generation.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "bind/bind.h"
#include "bind/live_value.h"
#include "bind/request.h"
#include "bind/topics.h"
#include "bind/websocket.h"
#include "ev/loop.h"
#include "http/websocket.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.websocket"

static const char kind[] = "websocket";

enum event_type { EVENT_OPEN, EVENT_MESSAGE, EVENT_CLOSE, EVENT_DRAIN };

static const char *const event_names[] = {"open", "message", "close", "drain"};

struct event {
    enum event_type type;
    bool binary;
    unsigned code;
    size_t len;
    struct event *next;
    char data[];
};

/* The Lua value. Its environment holds the function at 1 and `data`. */
struct socket_value {
    struct live_value live; /* first */
    size_t max_message;
    uint64_t ping_ms;
};

struct lua_socket {
    struct exchange_source source; /* first: start() and drop() cast back */
    struct resource resource;
    struct vm *vm;
    struct instance *instance; /* NULL in tests */
    struct exchange *x;        /* until it is upgraded */
    struct bind_request *request;
    struct websocket *ws; /* NULL before and after */
    struct subscription *topics;
    struct task *task;
    struct handle *handle;
    struct post drain;
    struct event *events, **last_event;
    size_t max_message;
    uint64_t ping_ms;
    int value; /* registry reference */
    bool over; /* freed when the running call is done */
    char request_id[132], trace[56];
};

static struct topics *topics_of(const struct lua_socket *s)
{
    return s->instance ? plugins_options(s->instance->plugins)->topics : NULL;
}

/* --- its life --- */

static void forget_events(struct lua_socket *s)
{
    while (s->events) {
        struct event *event = s->events;
        s->events = event->next;
        free(event);
    }
    s->last_event = &s->events;
}

static void free_socket(struct lua_socket *s)
{
    struct instance *in = s->instance;

    forget_events(s);
    ledger_remove(&s->resource);
    handle_sever(&s->handle);
    luaL_unref(vm_main(s->vm), LUA_REGISTRYINDEX, s->value);
    free(s);
    if (in) {
        plugins_call_done(in);
        instance_unref(in);
    }
}

/* The connection is no longer its own. */
static void leave_connection(struct lua_socket *s)
{
    struct topics *topics = topics_of(s);

    if (topics)
        topics_leave(topics, &s->topics);
    if (vm_loop(s->vm))
        loop_unpost(vm_loop(s->vm), &s->drain);
    if (s->request)
        bind_request_release(s->request);
    s->request = NULL;
    s->x = NULL;
    s->ws = NULL;
}

/* --- events --- */

static void run_next(struct lua_socket *s);

static void call_done(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct lua_socket *s = arg;

    s->task = NULL;
    if (!ok && !task_cancelled(task)) {
        if (s->instance)
            plugins_fault(s->instance, err, "websocket", s->request_id);
        if (s->ws)
            websocket_close(s->ws, WEBSOCKET_FAILED, STR("the handler failed"));
    }
    run_next(s);
}

static void push_event(lua_State *L, const struct event *event)
{
    lua_pushstring(L, event_names[event->type]);
    if (event->type == EVENT_MESSAGE || event->type == EVENT_CLOSE)
        lua_pushlstring(L, event->data, event->len);
    else
        lua_pushnil(L);
    if (event->type == EVENT_CLOSE)
        lua_pushinteger(L, (lua_Integer)event->code);
    else
        lua_pushboolean(L, event->binary);
}

struct pushing {
    const struct lua_socket *s;
    const struct event *event;
};

/* fn value name data more */
static int push_call(lua_State *L, void *arg)
{
    const struct pushing *p = arg;

    lua_rawgeti(L, LUA_REGISTRYINDEX, p->s->value);
    lua_getfenv(L, -1);
    lua_rawgeti(L, -1, 1);
    lua_insert(L, -3);
    lua_pop(L, 1);
    push_event(L, p->event);
    return 5;
}

static void start_call(struct lua_socket *s, const struct event *event)
{
    struct pushing pushing = {s, event};
    struct task *task;
    struct err err;

    task = task_new(s->vm, &err);
    if (!task || !vm_protect(task_state(task), push_call, &pushing, 5, &err)) {
        if (task)
            task_discard(task);
        vm_report(s->vm, &err);
        if (s->ws)
            websocket_close(s->ws, WEBSOCKET_FAILED, STR("out of memory"));
        if (s->over)
            free_socket(s);
        return;
    }
    s->task = task;
    task_set_request_id(task, s->request_id);
    task_set_trace(task, *s->trace ? s->trace : NULL);
    task_start(task, 4, call_done, s); /* may end it all: s is not touched after this */
}

/* One call at a time; the last one frees the socket. */
static void run_next(struct lua_socket *s)
{
    struct event *event = s->events;

    if (s->task)
        return;
    if (!event) {
        if (s->over)
            free_socket(s);
        else if (s->ws)
            websocket_pause(s->ws, false);
        return;
    }
    s->events = event->next;
    if (!s->events)
        s->last_event = &s->events;
    start_call(s, event);
    free(event);
}

static void add_event(struct lua_socket *s, enum event_type type, struct str data, unsigned code)
{
    struct event *event = mem_alloc(sizeof(*event) + data.len + 1);

    event->type = type;
    event->code = code;
    event->binary = type == EVENT_MESSAGE && code;
    event->len = data.len;
    if (data.len)
        memcpy(event->data, data.at, data.len);
    *s->last_event = event;
    s->last_event = &event->next;
}

static void on_message(void *owner, struct str data, bool binary)
{
    struct lua_socket *s = owner;

    add_event(s, EVENT_MESSAGE, data, binary);
    if (s->task)
        websocket_pause(s->ws, true);
    else
        run_next(s);
}

static void on_closed(void *owner, unsigned code, struct str reason)
{
    struct lua_socket *s = owner;

    leave_connection(s);
    s->over = true;
    add_event(s, EVENT_CLOSE, reason, code);
    run_next(s);
}

/* --- the upgrade --- */

static void start(struct exchange_source *source, struct exchange *x)
{
    struct lua_socket *s = (struct lua_socket *)source;
    const struct websocket_options options = {
        .max_message = s->max_message,
        .ping_ms = s->ping_ms,
        .message = on_message,
        .closed = on_closed,
        .owner = s,
    };

    s->ws = websocket_upgrade(x, &options);
    if (!s->ws) {
        leave_connection(s);
        free_socket(s);
        return;
    }
    s->x = NULL;
    add_event(s, EVENT_OPEN, STR(""), 0);
    run_next(s);
    bind_request_release(s->request); /* h2o frees it once the head is out */
    s->request = NULL;
}

/* Another answer was given, or the client is gone. */
static void drop(struct exchange_source *source)
{
    struct lua_socket *s = (struct lua_socket *)source;

    leave_connection(s);
    free_socket(s);
}

static struct lua_socket *socket_of(struct resource *resource)
{
    return (struct lua_socket *)((char *)resource - offsetof(struct lua_socket, resource));
}

static void disown(struct lua_socket *s, unsigned code, struct str reason)
{
    struct websocket *ws = s->ws;

    if (s->x && !ws)
        exchange_res_set_source(s->x, NULL);
    leave_connection(s);
    s->over = true;
    forget_events(s);
    if (!ws)
        return;
    websocket_close(ws, code, reason);
    websocket_disown(ws);
}

/* With the VM, whose tasks are gone already. */
static void close_resource(struct resource *resource)
{
    struct lua_socket *s = socket_of(resource);

    disown(s, WEBSOCKET_GOING_AWAY, STR("the plugin was unloaded"));
    free_socket(s);
}

static void call_drain(struct post *post)
{
    struct lua_socket *s = (struct lua_socket *)((char *)post - offsetof(struct lua_socket, drain));

    add_event(s, EVENT_DRAIN, STR(""), 0);
    run_next(s);
}

void bind_sockets_drain(struct vm *vm)
{
    struct resource *r = vm ? (struct resource *)ledger_first(vm) : NULL;

    for (; r; r = r->next) {
        if (r->kind == kind && socket_of(r)->ws)
            loop_post(vm_loop(vm), &socket_of(r)->drain);
    }
}

static struct lua_socket *first_open(struct vm *vm)
{
    struct resource *r = (struct resource *)ledger_first(vm);

    while (r && !(r->kind == kind && socket_of(r)->ws))
        r = r->next;
    return r ? socket_of(r) : NULL;
}

void bind_sockets_close(struct vm *vm, unsigned code, const char *reason)
{
    struct lua_socket *s;

    while (vm && (s = first_open(vm))) {
        disown(s, code, str_of(reason));
        if (s->task)
            task_cancel(s->task, reason);
        else
            free_socket(s);
    }
}

static void attach(lua_State *L, int index, struct bind_request *request)
{
    struct socket_value *value = lua_touserdata(L, index);
    const struct str id = exchange_id(request->x);
    const int reference = live_value_use(L, index, "a socket");
    struct lua_socket *s;

    s = mem_alloc(sizeof(*s));
    s->source = (struct exchange_source){.upgrade = true, .start = start, .drop = drop};
    s->resource.kind = kind;
    s->resource.close = close_resource;
    s->vm = vm_of(L);
    s->instance = vm_host(s->vm);
    s->x = request->x;
    s->request = request;
    s->drain.run = call_drain;
    s->last_event = &s->events;
    s->max_message = value->max_message;
    s->ping_ms = value->ping_ms;
    s->value = reference;
    snprintf(s->request_id, sizeof(s->request_id), "%.*s", (int)id.len, id.at);
    if (task_current(L) && task_trace(task_current(L)))
        snprintf(s->trace, sizeof(s->trace), "%s", task_trace(task_current(L)));
    snprintf(s->resource.label, sizeof(s->resource.label), "%.40s", s->request_id);
    if (s->instance)
        instance_ref(s->instance)->calls++;
    bind_request_hold(request);
    ledger_add(s->vm, &s->resource);
    handle_link(&value->live.handle, s, &s->handle);
    exchange_res_set_source(request->x, &s->source);
}

/* --- Lua --- */

/* new(fn, max_message, ping): bytes and seconds */
static int new_socket(lua_State *L)
{
    const lua_Number most = luaL_checknumber(L, 2), ping = luaL_checknumber(L, 3);
    struct socket_value *value;
    const struct instance *instance = vm_host(vm_of(L));

    if (instance && plugins_options(instance->plugins)->worker)
        return luaL_error(L, "WebSockets need a persistent plugin (plugin.lua): a worker answers "
                             "requests");

    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_argcheck(L, most >= 1 && most < 1e12, 2, "bytes expected");
    luaL_argcheck(L, ping >= 0 && ping < 1e9, 3, "seconds expected");
    value = lua_newuserdata(L, sizeof(*value));
    memset(value, 0, sizeof(*value));
    value->live.base = (struct response_source){response_source_magic(), attach};
    value->max_message = (size_t)most;
    value->ping_ms = (uint64_t)ceil(ping * 1000);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 1);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    return 1;
}

/* NULL when the connection is over or ending. */
static struct lua_socket *check(lua_State *L)
{
    const struct socket_value *value = luaL_checkudata(L, 1, TYPE);
    struct lua_socket *s = value->live.handle.object;

    return s && s->ws && !websocket_closing(s->ws) ? s : NULL;
}

static struct str check_data(lua_State *L, int arg, bool binary)
{
    struct str data;

    data.at = luaL_checklstring(L, arg, &data.len);
    if (!binary && !utf8_valid(data))
        luaL_error(L, "text must be valid UTF-8 (for bytes: send(data, true))");
    return data;
}

/* send(ws, data, binary) -> whether it is on its way */
static int send_data(lua_State *L)
{
    struct lua_socket *s = check(L);
    const bool binary = lua_toboolean(L, 3);
    const struct str data = check_data(L, 2, binary);

    if (s)
        websocket_send(s->ws, data, binary);
    lua_pushboolean(L, s && !websocket_closing(s->ws));
    return 1;
}

/* close(ws, code, reason) */
static int close_socket(lua_State *L)
{
    struct lua_socket *s = check(L);
    const lua_Integer code = luaL_optinteger(L, 2, 1000);
    struct str reason;

    reason.at = luaL_optlstring(L, 3, "", &reason.len);
    luaL_argcheck(L,
                  code == 1000 || (code >= 1001 && code <= 1014 && (code < 1004 || code > 1006)) ||
                      (code >= 3000 && code <= 4999),
                  2, "a close code expected (1000 to 1014 without 1004 to 1006, 3000 to 4999)");
    luaL_argcheck(L, reason.len <= 123, 3, "a reason has at most 123 bytes");
    luaL_argcheck(L, utf8_valid(reason), 3, "a reason must be valid UTF-8");
    if (s)
        websocket_close(s->ws, (unsigned)code, reason);
    return 0;
}

static int subscribe(lua_State *L)
{
    struct lua_socket *s = check(L);
    struct str topic;

    topic.at = luaL_checklstring(L, 2, &topic.len);
    lua_pushboolean(L,
                    s && topics_of(s) && topics_subscribe(topics_of(s), &s->topics, s->ws, topic));
    return 1;
}

static int unsubscribe(lua_State *L)
{
    struct lua_socket *s = check(L);
    struct str topic;

    topic.at = luaL_checklstring(L, 2, &topic.len);
    lua_pushboolean(L, s && topics_of(s) && topics_unsubscribe(topics_of(s), &s->topics, topic));
    return 1;
}

static size_t publish_from(lua_State *L, int arg, const struct websocket *except)
{
    const struct instance *in = vm_host(vm_of(L));
    struct topics *topics = in ? plugins_options(in->plugins)->topics : NULL;
    const bool binary = lua_toboolean(L, arg + 2);
    const struct str data = check_data(L, arg + 1, binary);
    struct str topic;

    topic.at = luaL_checklstring(L, arg, &topic.len);
    return topics ? topics_publish(topics, topic, data, binary, except) : 0;
}

/* publish(ws, topic, data, binary) -> to how many others it went */
static int publish(lua_State *L)
{
    const struct lua_socket *s = check(L);

    lua_pushinteger(L, (lua_Integer)publish_from(L, 2, s ? s->ws : NULL));
    return 1;
}

static int publish_to_all(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)publish_from(L, 1, NULL));
    return 1;
}

void bind_push_publish(lua_State *L)
{
    lua_pushcfunction(L, publish_to_all);
}

/* Methods, `closed`, and `data` and whatever else was assigned. */
static int index_value(lua_State *L)
{
    return live_value_index(L, check(L) == NULL);
}

static int set_field(lua_State *L)
{
    luaL_checkudata(L, 1, TYPE);
    luaL_checktype(L, 2, LUA_TSTRING);
    lua_settop(L, 3);
    lua_getfenv(L, 1);
    lua_insert(L, 2);
    lua_rawset(L, 2);
    return 0;
}

static const luaL_Reg functions[] = {
    {"new", new_socket},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"send", send_data},          {"close", close_socket}, {"subscribe", subscribe},
    {"unsubscribe", unsubscribe}, {"publish", publish},    {NULL, NULL},
};

int bind_websocket_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    live_value_class(L, TYPE, "websocket", index_value);
    lua_pushcfunction(L, set_field);
    lua_setfield(L, -2, "__newindex");
    lua_pop(L, 2);
    return 1;
}
