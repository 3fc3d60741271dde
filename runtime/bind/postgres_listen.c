/* Listeners of buntime.core.postgres.
 *
 * A subscription keeps itself, its function and its database alive until it is stopped; the Lua
 * value may be dropped. The pool tells in the middle of its work, so what concerns Lua is put off
 * to a later turn of the loop.
 */
#include "bind/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/inbox.h"
#include "bind/misuse.h"
#include "ev/loop.h"
#include "vm/call.h"
#include "vm/handle.h"
#include "vm/task.h"

#define TYPE "buntime.postgres.listener"

enum { CHANNEL_MAX = 63 }; /* bytes that the server looks at */

struct postgres_subscription {
    struct postgres_listener listener; /* first: the pool's functions cast back */
    struct post settled;
    struct lua_postgres *db;
    struct postgres_subscription *next;
    struct task *task; /* waits for the server's word */
    struct handle *handle;
    struct inbox *inbox, *restored; /* `restored` may be NULL */
    int value, owner;               /* references, `value` only while the task waits */
    struct postgres_error *error;
    char channel[CHANNEL_MAX + 1];
};

static void remove_from_list(struct postgres_subscription *s)
{
    struct postgres_subscription **slot = &s->db->subscriptions;

    while (*slot != s)
        slot = &(*slot)->next;
    *slot = s->next;
}

/* The listener is the pool's no more. */
static void free_subscription(struct postgres_subscription *s)
{
    lua_State *L = vm_main(s->db->vm);

    loop_unpost(vm_loop(s->db->vm), &s->settled);
    handle_sever(&s->handle);
    inbox_close(s->inbox);
    inbox_close(s->restored);
    luaL_unref(L, LUA_REGISTRYINDEX, s->value);
    luaL_unref(L, LUA_REGISTRYINDEX, s->owner);
    free(s->error);
    free(s);
}

static void end_subscription(struct postgres_subscription *s)
{
    if (s->db->pool)
        postgres_unlisten(&s->listener);
    remove_from_list(s);
    free_subscription(s);
}

/* --- what the pool tells --- */

static void settled(struct postgres_listener *listener, const struct postgres_error *error)
{
    struct postgres_subscription *s = (struct postgres_subscription *)listener;

    if (error) {
        s->error = mem_alloc(sizeof(*s->error));
        *s->error = *error; /* one of the pool's own, which has no detail */
    }
    loop_post(vm_loop(s->db->vm), &s->settled);
}

static void heard(struct postgres_listener *listener, const char *payload, size_t len)
{
    struct postgres_subscription *s = (struct postgres_subscription *)listener;
    const struct str parts[] = {{payload, len}, str_of(s->channel)};

    inbox_add(s->inbox, parts, 2);
}

static void restored(struct postgres_listener *listener)
{
    struct postgres_subscription *s = (struct postgres_subscription *)listener;
    const struct str parts[] = {str_of(s->channel)};

    if (s->restored)
        inbox_add(s->restored, parts, 1);
}

static int push_failure(lua_State *L, void *arg)
{
    postgres_push_error(L, arg, NULL);
    return 1;
}

/* On a later turn: the task that asked goes on. */
static void go_on(struct post *post)
{
    struct postgres_subscription *s =
        (struct postgres_subscription *)((char *)post -
                                         offsetof(struct postgres_subscription, settled));
    struct task *task = s->task;
    lua_State *L = vm_main(s->db->vm);
    struct err err;

    s->task = NULL;
    if (!s->error) {
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, s->value);
        luaL_unref(L, LUA_REGISTRYINDEX, s->value);
        s->value = LUA_NOREF;
        task_resume(task, 1);
        return;
    }
    if (!vm_protect(L, push_failure, s->error, 1, &err))
        lua_pushstring(L, err.message);
    lua_xmove(L, task_state(task), 1);
    end_subscription(s);
    task_resume_error(task);
}

/* --- listening --- */

static void undo(void *arg)
{
    struct postgres_subscription *s = arg;

    s->task = NULL;
    end_subscription(s);
}

static bool check_channel(lua_State *L)
{
    size_t len = 0;
    const char *channel = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &len) : NULL;

    if (!channel)
        return misuse(L, "the channel must be a string, got %s", luaL_typename(L, 2));
    if (len == 0 || len > CHANNEL_MAX || strlen(channel) != len)
        return misuse(L, "the channel must be 1 to %d bytes", CHANNEL_MAX);
    return lua_isfunction(L, 3) ||
           misuse(L, "expected a function for the messages, got %s", luaL_typename(L, 3));
}

static int reference(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static struct postgres_subscription *new_subscription(lua_State *L, struct lua_postgres *db)
{
    struct postgres_subscription *s;
    struct handle *handle;
    char source[CHANNEL_MAX + 16];
    int value, owner, inbox, again;

    /* Everything that can raise comes before the allocations; a reference too many is no harm. */
    handle = handle_new(L, TYPE);
    value = reference(L, -1);
    owner = reference(L, 1);
    inbox = reference(L, 3);
    again = lua_isfunction(L, 4) ? reference(L, 4) : LUA_NOREF;
    s = mem_alloc(sizeof(*s));
    snprintf(source, sizeof(source), "channel \"%s\"", lua_tostring(L, 2));
    s->inbox = inbox_new(vm_of(L), inbox, source);
    s->restored = again == LUA_NOREF ? NULL : inbox_new(vm_of(L), again, source);
    s->value = value;
    s->owner = owner;
    s->db = db;
    s->task = task_current(L);
    s->settled.run = go_on;
    snprintf(s->channel, sizeof(s->channel), "%s", lua_tostring(L, 2));
    s->listener = (struct postgres_listener){
        .channel = s->channel,
        .settled = settled,
        .heard = heard,
        .restored = restored,
    };
    handle_link(handle, s, &s->handle);
    return s;
}

/* listen(db, channel, fn, restored | nil) -> listener: waits for the server's word */
int postgres_listen_on(lua_State *L)
{
    struct postgres_subscription *s;
    struct lua_postgres *db;

    lua_settop(L, 4);
    if (!postgres_check_db(L, &db) || !check_channel(L))
        return 2;
    s = new_subscription(L, db);
    s->next = db->subscriptions;
    db->subscriptions = s;
    postgres_listen(db->pool, &s->listener);
    return task_wait(L, undo, s);
}

/* stop(listener) -> whether it still listened */
int postgres_listen_stop(lua_State *L)
{
    const struct handle *handle = luaL_checkudata(L, 1, TYPE);
    struct postgres_subscription *s = handle->object;

    lua_pushboolean(L, s != NULL);
    if (s)
        end_subscription(s);
    return 1;
}

/* Tasks that wait go on with an error, on a later turn. */
void postgres_subscriptions_close(struct lua_postgres *db)
{
    struct postgres_subscription **slot = &db->subscriptions;
    const struct postgres_error closed = {.code = "CLOSED", .message = "the database was closed"};

    while (*slot) {
        struct postgres_subscription *s = *slot;

        postgres_unlisten(&s->listener);
        if (s->task) {
            if (!s->error)
                settled(&s->listener, &closed);
            slot = &s->next;
            continue;
        }
        *slot = s->next;
        free_subscription(s);
    }
}

void postgres_subscriptions_register(lua_State *L)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};

    handle_register(L, TYPE, methods);
    luaL_getmetatable(L, TYPE);
    lua_getfield(L, -1, "__index");
    lua_setfield(L, -3, "listener");
    lua_pop(L, 1);
}
