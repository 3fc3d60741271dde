/* Replies as values of Lua, a part in each turn of the loop: a list of a million elements is not to
 * hold up others. The tables that are not full yet are kept in the registry between the turns.
 */
#include "bind/redis.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "bind/json.h"
#include "bind/sql.h"

enum { SLICE_VALUES = 2000, SLICE_BYTES = 256 << 10, FIRST_SIZE = 10000 };

void redis_reply_init(struct redis_reply *reply, const char *flat, bool list, unsigned count)
{
    reply->at = flat;
    reply->depth = list ? 1 : 0;
    reply->open[0].left = count;
    reply->open[0].made = 0;
    reply->open[0].table = LUA_NOREF;
}

static void push_reply_error(lua_State *L, struct str text)
{
    struct redis_error error;
    const char *space = memchr(text.at, ' ', text.len);
    const size_t word = space ? (size_t)(space - text.at) : text.len;
    const size_t rest = space ? word + 1 : 0;

    snprintf(error.code, sizeof(error.code), "%.*s", (int)word, text.at);
    snprintf(error.message, sizeof(error.message), "%.*s", (int)(text.len - rest), text.at + rest);
    redis_push_error(L, &error);
}

static void push_scalar(lua_State *L, const struct redis_value *value, bool inside)
{
    switch (value->type) {
    case REDIS_STRING:
        lua_pushlstring(L, value->bytes.at, value->bytes.len);
        return;
    case REDIS_INTEGER:
        sql_push_integer(L, value->integer);
        return;
    case REDIS_ERROR:
        push_reply_error(L, value->bytes);
        return;
    default:
        if (inside)
            lua_pushlightuserdata(L, NULL); /* json.null */
        else
            lua_pushnil(L);
    }
}

static void push_table(lua_State *L, int64_t count)
{
    lua_createtable(L, count < FIRST_SIZE ? (int)count : FIRST_SIZE, 0);
    json_mark_array(L, -1);
}

/* The next value; a list is opened. Returns whether the value on top is whole. */
static bool push_next(lua_State *L, struct redis_reply *reply)
{
    struct redis_value value;

    reply->at = redis_get(reply->at, &value);
    if (value.type != REDIS_LIST) {
        push_scalar(L, &value, reply->depth > 0);
        return true;
    }
    push_table(L, value.integer);
    if (reply->depth == REPLY_DEPTH)
        luaL_error(L, "the reply is nested too deeply");
    reply->open[reply->depth].left = value.integer;
    reply->open[reply->depth].made = 0;
    reply->open[reply->depth++].table = LUA_NOREF;
    return false;
}

/* The whole value on top goes into the table below it. */
static void put_into(lua_State *L, struct redis_reply *reply)
{
    lua_rawseti(L, -2, (int)++reply->open[reply->depth - 1].made);
    reply->open[reply->depth - 1].left--;
}

/* Closes the lists that are full, and puts each into its own. Returns whether all is done. */
static bool close_full(lua_State *L, struct redis_reply *reply)
{
    while (reply->depth > 0 && reply->open[reply->depth - 1].left == 0) {
        luaL_unref(L, LUA_REGISTRYINDEX, reply->open[--reply->depth].table);
        if (reply->depth > 0)
            put_into(L, reply);
    }
    return reply->depth == 0;
}

static void push_open(lua_State *L, const struct redis_reply *reply)
{
    for (unsigned i = 0; i < reply->depth; i++) {
        if (reply->open[i].table == LUA_NOREF)
            push_table(L, reply->open[i].left);
        else
            lua_rawgeti(L, LUA_REGISTRYINDEX, reply->open[i].table);
    }
}

static void keep_open(lua_State *L, struct redis_reply *reply, int base)
{
    for (unsigned i = 0; i < reply->depth; i++) {
        if (reply->open[i].table != LUA_NOREF)
            continue;
        lua_pushvalue(L, base + 1 + (int)i);
        reply->open[i].table = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

void redis_reply_push(lua_State *L, struct redis_reply *reply, bool *finished)
{
    const int base = lua_gettop(L);
    const char *start = reply->at;

    luaL_checkstack(L, REPLY_DEPTH + 8, "too many replies");
    push_open(L, reply);
    *finished = reply->depth > 0 && close_full(L, reply);
    for (unsigned i = 0; !*finished && i < SLICE_VALUES && reply->at - start < SLICE_BYTES; i++) {
        if (push_next(L, reply) && reply->depth > 0)
            put_into(L, reply);
        *finished = close_full(L, reply);
    }
    if (*finished)
        return;
    keep_open(L, reply, base);
    lua_settop(L, base);
    lua_pushnil(L);
}

void redis_reply_fini(struct redis_reply *reply, lua_State *L)
{
    for (unsigned i = 0; i < reply->depth; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, reply->open[i].table);
    reply->depth = 0;
}
