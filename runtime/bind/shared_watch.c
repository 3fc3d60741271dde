/* Watches of buntime.core.shared: functions that are told of changes, in memory or in Redis.
 *
 * A change is told on a later turn of the loop, in tasks of the VM that watches, one after the
 * other and in order. What waits for its turn is bounded: where changes come faster than the
 * function takes them, the oldest are dropped, those of keys that changed again before the others.
 */
#include "bind/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/caller.h"
#include "data/shared_redis.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/handle.h"
#include "vm/task.h"
#include "vm/vm.h"

enum {
    QUEUE_MAX = 1024,
    QUEUE_BYTES = 4 << 20,
    REDIS_QUEUE_MAX = 10000, /* what others change comes in large pieces */
    REDIS_QUEUE_BYTES = 16 << 20,
    SEARCH_MAX = 1024,  /* of what waits, for an older change of a key */
    TELL_AT_ONCE = 64,  /* and as many as can be told in */
    TELL_NS = 1000000,  /* this time; then other work gets its turn */
    PATIENCE_MS = 5000, /* for Redis to agree */
};

/* A change that is still to be told; key and text stand behind it. Without a key: some may have
 * been missed.
 */
struct change {
    struct change *next;
    size_t key_len;
    bool gone;
    struct shared_value value;
    char bytes[];
};

struct lua_watch {
    struct shared_watch watch; /* first: changed() casts back; or, with Redis, */
    struct shared_redis_watch remote;
    struct task *waiting; /* for Redis to agree */
    int value;            /* what it gets then: a registry reference */
    struct timer agreed;
    struct post post;
    struct resource resource;
    struct vm *vm;
    struct handle *handle;
    char *prefix;
    int function;         /* registry reference, as the next, which may be LUA_NOREF */
    int restored;         /* told when changes may have been missed */
    struct change *first; /* the oldest */
    struct change **last;
    size_t count, bytes, most, most_bytes;
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
    lua_State *L = vm_main(w->vm);

    shared_watch_stop(&w->watch);
    shared_redis_watch_stop(&w->remote);
    loop_unpost(vm_loop(w->vm), &w->post);
    timer_stop(&w->agreed);
    ledger_remove(&w->resource);
    handle_sever(&w->handle);
    luaL_unref(L, LUA_REGISTRYINDEX, w->function);
    luaL_unref(L, LUA_REGISTRYINDEX, w->restored);
    luaL_unref(L, LUA_REGISTRYINDEX, w->value);
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
    bool found = false;
    struct err err;

    for (int i = 0; i < SEARCH_MAX && *at && !found; i++) {
        found = str_equal((struct str){(*at)->bytes, (*at)->key_len}, key);
        at = found ? at : &(*at)->next;
    }
    drop(w, found ? at : &w->first);
    if (w->overflowed)
        return;
    w->overflowed = true;
    err_set(&err, "WATCH_OVERFLOW",
            "shared.watch (%s): changes come faster than the function takes them; the oldest were "
            "dropped",
            w->resource.label);
    vm_report(w->vm, &err);
}

static void note(struct lua_watch *w, struct str key, const struct shared_value *value)
{
    const struct str text = value && value->text.len ? value->text : (struct str){"", 0};
    struct change *change = mem_alloc(sizeof(*change) + key.len + text.len);

    change->key_len = key.len;
    change->gone = value == NULL;
    if (value)
        change->value = *value;
    memcpy(change->bytes, key.at, key.len);
    memcpy(change->bytes + key.len, text.at, text.len);
    change->value.text = (struct str){change->bytes + key.len, text.len};
    while (w->count > 0 && (w->count >= w->most || w->bytes + size_of(change) > w->most_bytes))
        overflow(w, key);
    *w->last = change;
    w->last = &change->next;
    w->count++;
    w->bytes += size_of(change);
    if (!w->running)
        loop_post(vm_loop(w->vm), &w->post);
}

static void changed(struct shared_watch *watch, struct str key, const struct shared_value *value)
{
    note((struct lua_watch *)watch, key, value);
}

/* --- Redis --- */

static struct lua_watch *watch_of(struct shared_redis_watch *remote)
{
    return (struct lua_watch *)((char *)remote - offsetof(struct lua_watch, remote));
}

static void
changed_there(struct shared_redis_watch *remote, struct str key, const struct shared_value *value)
{
    note(watch_of(remote), key, value);
}

static void restored(struct shared_redis_watch *remote)
{
    struct lua_watch *w = watch_of(remote);

    if (w->restored != LUA_NOREF)
        note(w, (struct str){"", 0}, NULL);
}

/* Who waits goes on in any case: the watch will be there as soon as Redis is. What Redis itself
 * says against it is a fault of how things are set up.
 */
static void settled(struct shared_redis_watch *remote, const struct redis_error *error)
{
    struct lua_watch *w = watch_of(remote);
    struct err err;

    if (error && w->waiting && strncmp(error->code, "CONNECTION_", 11) != 0 &&
        strcmp(error->code, "TIMEOUT") != 0) {
        err_set(&err, error->code, "shared.watch (%s): Redis: %s", w->resource.label,
                error->message);
        vm_report(w->vm, &err);
    }
    if (w->waiting)
        timer_start(vm_loop(w->vm), &w->agreed, 0); /* Redis may not be called from here */
}

static void go_on(struct timer *timer)
{
    struct lua_watch *w = (struct lua_watch *)((char *)timer - offsetof(struct lua_watch, agreed));
    struct task *task = w->waiting;

    w->waiting = NULL;
    lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, w->value);
    luaL_unref(vm_main(w->vm), LUA_REGISTRYINDEX, w->value);
    w->value = LUA_NOREF;
    task_resume(task, 1);
}

/* The task is cancelled. */
static void undo(void *arg)
{
    struct lua_watch *w = arg;

    w->waiting = NULL;
    close_watch(w);
}

/* --- telling --- */

/* fn key value json, or restored prefix nil false */
static int push_change(lua_State *L, void *arg)
{
    const struct lua_watch *w = arg;
    const struct change *change = w->first;

    lua_rawgeti(L, LUA_REGISTRYINDEX, change->key_len ? w->function : w->restored);
    if (change->key_len)
        lua_pushlstring(L, change->bytes, change->key_len);
    else
        lua_pushlstring(L, w->watch.prefix.at, w->watch.prefix.len);
    if (change->gone) {
        lua_pushnil(L);
        lua_pushboolean(L, false);
    } else {
        shared_push_value(L, &change->value);
    }
    return 4;
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
    if (!vm_protect(task_state(task), push_change, w, 4, &err)) {
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

    const uint64_t began_ns = clock_now_ns();

    w->held = true;
    for (unsigned i = 0; w->first && !w->running && !w->closed; i++) {
        if (i >= TELL_AT_ONCE && clock_now_ns() - began_ns > TELL_NS)
            break;
        tell_one(w);
    }
    w->held = false;
    if (!w->closed && w->first && !w->running)
        loop_post(vm_loop(w->vm), post);
    w->overflowed &= w->first != NULL;
    release(w);
}

static struct lua_watch *new_watch(lua_State *L, struct str prefix)
{
    struct lua_watch *w = mem_alloc(sizeof(*w));

    w->vm = vm_of(L);
    w->prefix = mem_copy_n(prefix.at, prefix.len);
    w->watch.prefix = w->remote.prefix = (struct str){w->prefix, prefix.len};
    w->watch.changed = changed;
    w->remote.changed = changed_there;
    w->remote.settled = settled;
    w->remote.restored = restored;
    w->agreed.fire = go_on;
    w->post.run = tell;
    w->value = LUA_NOREF;
    w->last = &w->first;
    w->most = QUEUE_MAX;
    w->most_bytes = QUEUE_BYTES;
    w->resource.kind = "watch";
    w->resource.close = close_resource;
    return w;
}

static int reference(lua_State *L, int index)
{
    if (!lua_isfunction(L, index))
        return LUA_NOREF;
    lua_pushvalue(L, index);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* In Redis the watch is made when Redis has agreed: until then the task waits, if it can. */
static int watch_redis(lua_State *L, struct lua_watch *w, struct redis *redis, int value)
{
    if (!task_unable(L)) {
        w->waiting = task_current(L);
        w->value = value;
        timer_start(vm_loop(w->vm), &w->agreed, PATIENCE_MS);
    } else {
        luaL_unref(L, LUA_REGISTRYINDEX, value);
    }
    w->most = REDIS_QUEUE_MAX;
    w->most_bytes = REDIS_QUEUE_BYTES;
    shared_redis_watch_start(&w->remote, redis, vm_loop(w->vm));
    return w->waiting ? task_wait(L, undo, w) : 2;
}

/* watch(prefix, fn, restored | nil) -> true, watch: fn(key, value, json) with a value of nil for a
 * key that is gone; waits
 */
int shared_watch_keys(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    struct redis *redis = instance ? plugins_options(instance->plugins)->redis : NULL;
    struct shared *shared = shared_of(L);
    struct handle *handle;
    struct lua_watch *w;
    struct str prefix;
    char place[48];
    int function, missed, value;

    lua_settop(L, 3);
    prefix.at = luaL_checklstring(L, 1, &prefix.len);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!vm_loop(vm_of(L)))
        return luaL_error(L, "nothing can be watched here: nothing turns an event loop");
    /* Everything that can raise comes before the allocation. */
    lua_pushboolean(L, true);
    handle = handle_new(L, SHARED_WATCH_TYPE);
    lua_pushvalue(L, -1);
    value = luaL_ref(L, LUA_REGISTRYINDEX);
    function = reference(L, 2);
    missed = reference(L, 3);
    caller_name(L, 2, place, sizeof(place));
    w = new_watch(L, prefix);
    w->function = function;
    w->restored = missed;
    snprintf(w->resource.label, sizeof(w->resource.label), "%s %.14s", place, w->prefix);
    ledger_add(w->vm, &w->resource);
    handle_link(handle, w, &w->handle);
    if (redis)
        return watch_redis(L, w, redis, value);
    luaL_unref(L, LUA_REGISTRYINDEX, value);
    shared_watch_start(shared, &w->watch);
    return 2;
}

/* watch:stop() -> whether it went on until now */
int shared_watch_end(lua_State *L)
{
    const struct handle *handle = luaL_checkudata(L, 1, SHARED_WATCH_TYPE);
    struct lua_watch *w = handle->object;

    lua_pushboolean(L, w != NULL);
    if (w)
        close_watch(w);
    return 1;
}
