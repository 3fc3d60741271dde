/* What the files of buntime.core.redis share. */
#pragma once

#include <stdbool.h>

#include <lua.h>

#include "bind/subscription.h"
#include "data/redis.h"
#include "data/redis_value.h"
#include "vm/vm.h"

#define REDIS_TYPE "buntime.redis"

struct lua_redis {
    struct resource resource; /* first: close_resource() casts back */
    struct redis *redis;      /* NULL: closed */
    bool lent;                /* the server's */
    struct subscription *subscriptions;
};

/* The client at 1. False: pushes nil and why not. */
bool redis_check(lua_State *L, struct lua_redis **client);

void redis_push_error(lua_State *L, const struct redis_error *error);

/* --- redis_command.c --- */

/* Readies the values from stack index `first` on, which are to be the arguments of a command.
 * False: pushes what is wrong with one of them.
 */
bool redis_command_check(lua_State *L, int first, unsigned *arguments);

/* Cannot raise. */
void redis_command_add(lua_State *L, int first, unsigned arguments, struct buf *out);

/* The same as a string of Lua's. */
void redis_command_push(lua_State *L, int first, unsigned arguments);

/* --- redis_reply.c --- */

enum { REPLY_DEPTH = 10 }; /* hiredis takes 7 */

/* A reply on its way to being a value, in as many turns as it takes. */
struct redis_reply {
    const char *at;
    unsigned depth;
    struct {
        int64_t left, made;
        int table; /* reference */
    } open[REPLY_DEPTH];
};

/* `list`: of so many replies; else of one. */
void redis_reply_init(struct redis_reply *reply, const char *flat, bool list, unsigned count);

/* Pushes the value, or nil with `*finished` false. Null is nil at the top and json.null in lists,
 * an error a table.
 */
void redis_reply_push(lua_State *L, struct redis_reply *reply, bool *finished);
void redis_reply_fini(struct redis_reply *reply, lua_State *L);

/* --- redis_subscription.c --- */
void redis_subscription_register(lua_State *L); /* its type; `subscription` of the module on top */
int redis_subscribe_to(lua_State *L);
int redis_subscription_stop(lua_State *L);
