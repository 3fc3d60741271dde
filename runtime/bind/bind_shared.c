/* buntime.core.shared: the dictionary of the server process, and values as they stand in that of
 * the replicas, which is Redis (lua/buntime/shared_redis.lua).
 */
#include <math.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

#include "bind/bind.h"
#include "bind/shared.h"
#include "data/shared_redis.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/handle.h"
#include "vm/vm.h"

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

struct shared *shared_of(lua_State *L)
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

void shared_push_value(lua_State *L, const struct shared_value *value)
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
    shared_push_value(L, &value);
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

/* What stands in Redis: decode(bytes) -> value, whether it is JSON; or nothing: these bytes are no
 * value */
static int decode(lua_State *L)
{
    struct shared_value value;

    if (!shared_redis_decode(check_str(L, 1), &value))
        return 0;
    shared_push_value(L, &value);
    return 2;
}

static const luaL_Reg functions[] = {
    {"get", get},       {"set", set},       {"incr", incr},
    {"delete", delete}, {"decode", decode}, {"watch", shared_watch_keys},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"stop", shared_watch_end},
    {NULL, NULL},
};

int bind_shared_open(lua_State *L)
{
    handle_register(L, SHARED_WATCH_TYPE, methods);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
