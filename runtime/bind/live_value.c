#include "bind/live_value.h"

#include <string.h>

#include <lauxlib.h>

int live_value_use(lua_State *L, int index, const char *what)
{
    struct live_value *value = lua_touserdata(L, index);
    int reference;

    if (value->used)
        luaL_error(L, "%s cannot be the answer to two requests", what);
    lua_pushvalue(L, index);
    reference = luaL_ref(L, LUA_REGISTRYINDEX);
    value->used = true;
    return reference;
}

/* value key. Upvalue: the methods. */
int live_value_index(lua_State *L, bool closed)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1))
        return 1;
    if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "closed") == 0) {
        lua_pushboolean(L, closed);
        return 1;
    }
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int collect(lua_State *L)
{
    const struct live_value *value = lua_touserdata(L, 1);

    if (value->handle.back)
        *value->handle.back = NULL;
    return 0;
}

void live_value_class(lua_State *L, const char *type, const char *name, lua_CFunction index)
{
    luaL_newmetatable(L, type); /* methods mt */
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
}
