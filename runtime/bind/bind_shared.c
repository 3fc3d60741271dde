/* buntime.core.shared: the dictionary of the server process, and functions that are told of
 * changes.
 *
 * A change is told on a later turn of the loop, in tasks of the VM that watches, one after the
 * other and in order. What waits for its turn is bounded: where changes come faster than the
 * function takes them, the oldest are dropped, those of keys that changed again before the others.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/caller.h"
#include "data/shared.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/handle.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.shared.watch"

enum {
    QUEUE_MAX = 1024,
    QUEUE_BYTES = 4 << 20,
    TELL_AT_ONCE = 64, /* then other work gets its turn */
};

/* --- the dictionary --- */

static const char own_key = 0;

static int free_own(lua_State *L)
{
    shared_free(*(struct shared **)lua_touserdata(L, 1));
    return 0;
}

/* Of a VM without a server: one of its own, for as long as it lives. */
static struct shared *own_shared(lua_State *L)
{
    struct shared **own;

    lua_pushlightuserdata(L, (void *)&own_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    own = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (own)
        return *own;
    lua_pushlightuserdata(L, (void *)&own_key);
    own = lua_newuserdata(L, sizeof(struct shared *)); /* key own */
    *own = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_own);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *own = shared_new(vm_loop(vm_of(L)), SHARED_BYTES);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return *own;
}

static struct shared *shared_of(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    struct shared *shared = instance ? plugins_options(instance->plugins)->shared : NULL;

    return shared ? shared : own_shared(L);
}

static struct str check_str(lua_State *L, int arg)
{
    struct str s;

    s.at = luaL_checklstring(L, arg, &s.len);
    return s;
}

/* Seconds, as milliseconds; nil is 0. */
static uint64_t check_ttl(lua_State *L, int arg)
{
    static const double most = 1e9;
    const lua_Number seconds = luaL_optnumber(L, arg, 0);

    luaL_argcheck(L, seconds >= 0, arg, "expected seconds");
    return (uint64_t)ceil((seconds < most ? seconds : most) * 1000);
}

static int push_problem(lua_State *L, const struct err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    lua_pushstring(L, err->code);
    return 3;
}

/* Pushes the value, and whether it is the text of JSON. */
static void push_value(lua_State *L, const struct shared_value *value)
{
    if (value->type == SHARED_NUMBER)
        lua_pushnumber(L, value->number);
    else if (value->type == SHARED_BOOLEAN)
        lua_pushboolean(L, value->flag);
    else
        lua_pushlstring(L, value->text.len ? value->text.at : "", value->text.len);
    lua_pushboolean(L, value->type == SHARED_JSON);
}

/* get(key) -> value, whether it is JSON; or nothing */
static int get(lua_State *L)
{
    struct shared_value value;

    if (!shared_get(shared_of(L), check_str(L, 1), &value))
        return 0;
    push_value(L, &value);
    return 2;
}

static struct shared_value check_value(lua_State *L, int arg, bool json)
{
    struct shared_value value = {.type = json ? SHARED_JSON : SHARED_TEXT};

    if (lua_type(L, arg) == LUA_TNUMBER) {
        value.type = SHARED_NUMBER;
        value.number = lua_tonumber(L, arg);
    } else if (lua_type(L, arg) == LUA_TBOOLEAN) {
        value.type = SHARED_BOOLEAN;
        value.flag = lua_toboolean(L, arg);
    } else {
        value.text = check_str(L, arg);
    }
    return value;
}

/* set(key, value, ttl?, json?) -> true; or nil, message, code */
static int set(lua_State *L)
{
    const struct str key = check_str(L, 1);
    const struct shared_value value = check_value(L, 2, lua_toboolean(L, 4));
    const uint64_t ttl = check_ttl(L, 3);
    struct err err;

    if (!shared_set(shared_of(L), key, &value, ttl, &err))
        return push_problem(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* incr(key, by, ttl?) -> number; or nil, message, code */
static int incr(lua_State *L)
{
    const struct str key = check_str(L, 1);
    const double by = luaL_checknumber(L, 2);
    const uint64_t ttl = check_ttl(L, 3);
    struct err err;
    double result;

    if (!shared_incr(shared_of(L), key, by, ttl, &result, &err))
        return push_problem(L, &err);
    lua_pushnumber(L, result);
    return 1;
}

/* delete(key) -> whether it was there */
static int delete (lua_State *L)
{
    lua_pushboolean(L, shared_delete(shared_of(L), check_str(L, 1)));
    return 1;
}

/* --- watches --- */

/* A change that is still to be told; key and text stand behind it. */
struct change {
    struct change *next;
    size_t key_len;
    bool gone;
    struct shared_value value;
    char bytes[];
};

struct lua_watch {
    struct shared_watch watch; /* first: changed() casts back */
    struct post post;
    struct resource resource;
    struct vm *vm;
    struct handle *handle;
    char *prefix;
    int function;         /* registry reference */
    struct change *first; /* the oldest */
    struct change **last;
    size_t count, bytes;
    bool running;    /* a task of it has not ended */
    bool overflowed; /* and that was reported */
    bool held;       /* tell() uses the struct */
    bool closed;
};

static size_t size_of(const struct change *change)
{
    return sizeof(*change) + change->key_len + change->value.text.len;
}

static void drop(struct lua_watch *w, struct change **at)
{
    struct change *change = *at;

    *at = change->next;
    if (!change->next)
        w->last = at;
    w->count--;
    w->bytes -= size_of(change);
    free(change);
}

/* Freed at once, or by who still uses it. */
static void release(struct lua_watch *w)
{
    if (!w->closed || w->running || w->held)
        return;
    free(w->prefix);
    free(w);
}

static void close_watch(struct lua_watch *w)
{
    shared_watch_stop(&w->watch);
    loop_unpost(vm_loop(w->vm), &w->post);
    ledger_remove(&w->resource);
    handle_sever(&w->handle);
    luaL_unref(vm_main(w->vm), LUA_REGISTRYINDEX, w->function);
    while (w->first)
        drop(w, &w->first);
    w->closed = true;
    release(w);
}

static void close_resource(struct resource *resource)
{
    close_watch((struct lua_watch *)((char *)resource - offsetof(struct lua_watch, resource)));
}

/* Makes room: an older change of the same key, else the oldest of all. */
static void overflow(struct lua_watch *w, struct str key)
{
    struct change **at = &w->first;
    struct err err;

    while (*at && !str_equal((struct str){(*at)->bytes, (*at)->key_len}, key))
        at = &(*at)->next;
    drop(w, *at ? at : &w->first);
    if (w->overflowed)
        return;
    w->overflowed = true;
    err_set(&err, "WATCH_OVERFLOW",
            "shared.watch (%s): changes come faster than the function takes them; the oldest were "
            "dropped",
            w->resource.label);
    vm_report(w->vm, &err);
}

static void changed(struct shared_watch *watch, struct str key, const struct shared_value *value)
{
    struct lua_watch *w = (struct lua_watch *)watch;
    const struct str text = value && value->text.len ? value->text : (struct str){"", 0};
    struct change *change = mem_alloc(sizeof(*change) + key.len + text.len);

    change->key_len = key.len;
    change->gone = value == NULL;
    if (value)
        change->value = *value;
    memcpy(change->bytes, key.at, key.len);
    memcpy(change->bytes + key.len, text.at, text.len);
    change->value.text = (struct str){change->bytes + key.len, text.len};
    while (w->count > 0 && (w->count >= QUEUE_MAX || w->bytes + size_of(change) > QUEUE_BYTES))
        overflow(w, key);
    *w->last = change;
    w->last = &change->next;
    w->count++;
    w->bytes += size_of(change);
    if (!w->running)
        loop_post(vm_loop(w->vm), &w->post);
}

/* fn key value json */
static int push_change(lua_State *L, void *arg)
{
    const struct change *change = arg;

    lua_pushlstring(L, change->bytes, change->key_len);
    if (change->gone) {
        lua_pushnil(L);
        lua_pushboolean(L, false);
    } else {
        push_value(L, &change->value);
    }
    return 3;
}

static void told(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct lua_watch *w = arg;

    w->running = false;
    if (!ok && !task_cancelled(task))
        vm_report(w->vm, err);
    if (!w->closed && w->first && !w->held)
        loop_post(vm_loop(w->vm), &w->post);
    release(w);
}

/* Tells the oldest change; the task may end at once, wait, or stop the watch. */
static void tell_one(struct lua_watch *w)
{
    struct err err;
    struct task *task = task_new(w->vm, &err);

    if (!task) {
        vm_report(w->vm, &err);
        drop(w, &w->first);
        return;
    }
    lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, w->function);
    if (!vm_protect(task_state(task), push_change, w->first, 3, &err)) {
        task_discard(task);
        vm_report(w->vm, &err);
        drop(w, &w->first);
        return;
    }
    drop(w, &w->first);
    w->running = true;
    task_start(task, 3, told, w);
}

static void tell(struct post *post)
{
    struct lua_watch *w = (struct lua_watch *)((char *)post - offsetof(struct lua_watch, post));

    w->held = true;
    for (int i = 0; i < TELL_AT_ONCE && w->first && !w->running && !w->closed; i++)
        tell_one(w);
    w->held = false;
    if (!w->closed && w->first && !w->running)
        loop_post(vm_loop(w->vm), post);
    w->overflowed &= w->first != NULL;
    release(w);
}

/* watch(prefix, fn) -> watch; fn(key, value, json) with a value of nil for a key that is gone */
static int watch(lua_State *L)
{
    const struct str prefix = check_str(L, 1);
    struct shared *shared = shared_of(L);
    struct handle *handle;
    struct lua_watch *w;
    char place[48];
    int function;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!vm_loop(vm_of(L)))
        return luaL_error(L, "nothing can be watched here: nothing turns an event loop");
    /* Everything that can raise comes before the allocation. */
    handle = handle_new(L, TYPE);
    lua_pushvalue(L, 2);
    function = luaL_ref(L, LUA_REGISTRYINDEX);
    caller_name(L, 2, place, sizeof(place));
    w = mem_alloc(sizeof(*w));
    w->vm = vm_of(L);
    w->prefix = mem_copy_n(prefix.at, prefix.len);
    w->watch.prefix = (struct str){w->prefix, prefix.len};
    w->watch.changed = changed;
    w->post.run = tell;
    w->function = function;
    w->last = &w->first;
    w->resource.kind = "watch";
    w->resource.close = close_resource;
    snprintf(w->resource.label, sizeof(w->resource.label), "%s %.14s", place, w->prefix);
    ledger_add(w->vm, &w->resource);
    handle_link(handle, w, &w->handle);
    shared_watch_start(shared, &w->watch);
    return 1;
}

/* watch:stop() -> whether it went on until now */
static int stop(lua_State *L)
{
    const struct handle *handle = luaL_checkudata(L, 1, TYPE);
    struct lua_watch *w = handle->object;

    lua_pushboolean(L, w != NULL);
    if (w)
        close_watch(w);
    return 1;
}

static const luaL_Reg functions[] = {
    {"get", get}, {"set", set}, {"incr", incr}, {"delete", delete}, {"watch", watch}, {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"stop", stop},
    {NULL, NULL},
};

int bind_shared_open(lua_State *L)
{
    handle_register(L, TYPE, methods);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
