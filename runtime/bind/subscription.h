/* What a listener of PostgreSQL and a subscription of Redis have in common.
 *
 * A subscription keeps itself, its function and its owner (the database or client) alive until it
 * is stopped; the Lua value may be dropped. Libraries tell in the midst of their work, so what
 * concerns Lua is put off to a later turn of the loop.
 *
 * Embedded as the first member of a struct of the binding; in the owner's list while it lives.
 */
#pragma once

#include <stddef.h>

#include <lua.h>

#include "bind/inbox.h"
#include "ev/loop.h"

struct handle;
struct subscription;
struct task;
struct vm;

struct subscription_kind {
    const char *type;                    /* of the Lua value */
    size_t size;                         /* of the struct it is embedded in */
    void (*end)(struct subscription *s); /* nothing may reach it afterwards */
};

struct subscription {
    const struct subscription_kind *kind;
    struct post settled;
    struct vm *vm;
    struct subscription **list, *next;
    struct task *task; /* waits for the server's word */
    struct handle *handle;
    struct inbox *inbox, *restored; /* `restored` may be NULL */
    int value, owner;               /* references, `value` only while the task waits */
    char code[32], message[512];    /* "" or why it failed */
};

/* `methods` of the type become `field` of the module on top. */
void subscription_register(lua_State *L, const struct subscription_kind *kind, const char *field);

/* For (owner, name, function, restored | nil) on the stack. May raise before it allocates. */
struct subscription *
subscription_new(lua_State *L, const struct subscription_kind *kind, struct subscription **list);

/* Waits for subscription_settled(), for `return`. */
int subscription_wait(lua_State *L, struct subscription *s);

/* The server has agreed (code NULL), or will not hear of it: then `end` is not called. */
void subscription_settled(struct subscription *s, const char *code, const char *message);

/* stop(value) -> whether it was not stopped before */
int subscription_stop(lua_State *L, const struct subscription_kind *kind);

/* Ends all; tasks that still wait go on with CLOSED, on a later turn. */
void subscriptions_close(struct subscription **list);
