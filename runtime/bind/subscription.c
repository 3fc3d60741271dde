#include "bind/subscription.h"

#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/sql.h"
#include "vm/call.h"
#include "vm/handle.h"
#include "vm/task.h"
#include "vm/vm.h"

static void remove_from_list(struct subscription *s)
{
    struct subscription **slot = s->list;

    while (*slot != s)
        slot = &(*slot)->next;
    *slot = s->next;
}

static void free_subscription(struct subscription *s)
{
    lua_State *L = vm_main(s->vm);

    loop_unpost(vm_loop(s->vm), &s->settled);
    handle_sever(&s->handle);
    inbox_close(s->inbox);
    inbox_close(s->restored);
    luaL_unref(L, LUA_REGISTRYINDEX, s->value);
    luaL_unref(L, LUA_REGISTRYINDEX, s->owner);
    free(s);
}

static void end_subscription(struct subscription *s)
{
    if (!s->code[0])
        s->kind->end(s);
    remove_from_list(s);
    free_subscription(s);
}

/* --- the server's word --- */

static int push_failure(lua_State *L, void *arg)
{
    const struct subscription *s = arg;

    sql_push_error(L, s->code, s->message, NULL, 0);
    return 1;
}

static void go_on(struct post *post)
{
    struct subscription *s =
        (struct subscription *)((char *)post - offsetof(struct subscription, settled));
    struct task *task = s->task;
    lua_State *L = vm_main(s->vm);
    struct err err;

    s->task = NULL;
    if (!s->code[0]) {
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, s->value);
        luaL_unref(L, LUA_REGISTRYINDEX, s->value);
        s->value = LUA_NOREF;
        task_resume(task, 1);
        return;
    }
    if (!vm_protect(L, push_failure, s, 1, &err))
        lua_pushstring(L, err.message);
    lua_xmove(L, task_state(task), 1);
    end_subscription(s);
    task_resume_error(task);
}

void subscription_settled(struct subscription *s, const char *code, const char *message)
{
    if (code) {
        snprintf(s->code, sizeof(s->code), "%s", code);
        snprintf(s->message, sizeof(s->message), "%s", message);
    }
    loop_post(vm_loop(s->vm), &s->settled);
}

static void undo(void *arg)
{
    struct subscription *s = arg;

    s->task = NULL;
    end_subscription(s);
}

int subscription_wait(lua_State *L, struct subscription *s)
{
    return task_wait(L, undo, s);
}

/* --- starting and stopping --- */

static int reference(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

struct subscription *
subscription_new(lua_State *L, const struct subscription_kind *kind, struct subscription **list)
{
    struct subscription *s;
    struct handle *handle;
    char source[96];
    int value, owner, inbox, restored;

    /* All that can raise comes before the allocations; a reference too many is no harm. */
    handle = handle_new(L, kind->type);
    value = reference(L, -1);
    owner = reference(L, 1);
    inbox = reference(L, 3);
    restored = lua_isfunction(L, 4) ? reference(L, 4) : LUA_NOREF;
    s = mem_alloc(kind->size);
    snprintf(source, sizeof(source), "channel \"%.80s\"", lua_tostring(L, 2));
    s->kind = kind;
    s->settled.run = go_on;
    s->vm = vm_of(L);
    s->task = task_current(L);
    s->inbox = inbox_new(s->vm, inbox, source);
    s->restored = restored == LUA_NOREF ? NULL : inbox_new(s->vm, restored, source);
    s->value = value;
    s->owner = owner;
    s->list = list;
    s->next = *list;
    *list = s;
    handle_link(handle, s, &s->handle);
    return s;
}

int subscription_stop(lua_State *L, const struct subscription_kind *kind)
{
    const struct handle *handle = luaL_checkudata(L, 1, kind->type);
    struct subscription *s = handle->object;

    lua_pushboolean(L, s != NULL);
    if (s)
        end_subscription(s);
    return 1;
}

void subscriptions_close(struct subscription **list)
{
    struct subscription **slot = list;

    while (*slot) {
        struct subscription *s = *slot;

        if (!s->code[0])
            s->kind->end(s);
        if (s->task) {
            if (!s->code[0])
                subscription_settled(s, "CLOSED", "it was closed");
            slot = &s->next;
            continue;
        }
        *slot = s->next;
        free_subscription(s);
    }
}

void subscription_register(lua_State *L, const struct subscription_kind *kind, const char *field)
{
    static const luaL_Reg none[] = {{NULL, NULL}};

    handle_register(L, kind->type, none);
    luaL_getmetatable(L, kind->type);
    lua_getfield(L, -1, "__index"); /* module mt methods */
    lua_setfield(L, -3, field);
    lua_pop(L, 1);
}
