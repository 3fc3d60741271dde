#include "bind/misuse.h"

#include <stdarg.h>
#include <stdio.h>

#include <lauxlib.h>

bool misuse(lua_State *L, const char *fmt, ...)
{
    char message[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    lua_pushnil(L);
    lua_pushstring(L, message);
    return false;
}

void *userdata_of(lua_State *L, int index, const char *type)
{
    void *value = lua_touserdata(L, index);
    bool is = value && lua_getmetatable(L, index);

    if (!is)
        return NULL;
    luaL_getmetatable(L, type);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is ? value : NULL;
}

void add_class(lua_State *L, const char *type, const char *field, lua_CFunction collect)
{
    luaL_newmetatable(L, type); /* module mt */
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index"); /* module mt methods */
    lua_setfield(L, -3, field);
    lua_pop(L, 1);
}
