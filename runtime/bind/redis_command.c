/* Values of Lua as the arguments of a command. */
#include "bind/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

enum { TYPE_CDATA = 10 }; /* LuaJIT's lua_type() of what the FFI makes */

static bool refuse(lua_State *L, unsigned number, const char *what)
{
    lua_pushfstring(L, "argument %d is %s; expected a string or a number", (int)number, what);
    return false;
}

/* The shortest text that reads back as the number, with a point whatever the locale. */
static bool number_text(lua_State *L, int index, unsigned number)
{
    static const double exact = 9007199254740992.0;
    const double d = lua_tonumber(L, index);
    char text[40], *comma;

    if (d - d != 0)
        return refuse(L, number, d == d ? "infinite" : "NaN");
    if (d >= -exact && d <= exact && d == (double)(int64_t)d) {
        snprintf(text, sizeof(text), "%lld", (long long)d);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, d);
            if (strtod(text, NULL) == d)
                break;
        }
        comma = strchr(text, ',');
        if (comma)
            *comma = '.';
    }
    lua_pushstring(L, text);
    lua_replace(L, index);
    return true;
}

/* "42LL" and "42ULL", without the letters. */
static bool cdata_text(lua_State *L, int index, unsigned number)
{
    const char *text = luaL_callmeta(L, index, "__tostring") ? lua_tostring(L, -1) : NULL;
    const size_t digits = text ? strspn(text, "-0123456789") : 0;

    if (digits == 0 || (strcmp(text + digits, "LL") != 0 && strcmp(text + digits, "ULL") != 0))
        return refuse(L, number, "a cdata");
    lua_pushlstring(L, text, digits);
    lua_replace(L, index);
    lua_pop(L, 1);
    return true;
}

static bool check_argument(lua_State *L, int index, unsigned number)
{
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return true;
    case LUA_TNUMBER:
        return number_text(L, index, number);
    case TYPE_CDATA:
        return cdata_text(L, index, number);
    case LUA_TBOOLEAN:
        return refuse(L, number, "a boolean, for which Redis has no form");
    default:
        return refuse(L, number, luaL_typename(L, index));
    }
}

bool redis_command_check(lua_State *L, int first, unsigned *arguments)
{
    const int top = lua_gettop(L);

    luaL_checkstack(L, 8, "too many arguments");
    *arguments = top >= first ? (unsigned)(top - first) + 1 : 0;
    if (*arguments == 0) {
        lua_pushliteral(L, "expected a command");
        return false;
    }
    for (unsigned i = 0; i < *arguments; i++) {
        if (!check_argument(L, first + (int)i, i + 1))
            return false;
    }
    return true;
}

void redis_command_add(lua_State *L, int first, unsigned arguments, struct buf *out)
{
    redis_put_command(out, arguments);
    for (unsigned i = 0; i < arguments; i++) {
        struct str argument;

        argument.at = lua_tolstring(L, first + (int)i, &argument.len);
        redis_put_argument(out, argument);
    }
}

void redis_command_push(lua_State *L, int first, unsigned arguments)
{
    luaL_Buffer buffer;
    char head[32];

    luaL_buffinit(L, &buffer);
    snprintf(head, sizeof(head), "*%u\r\n", arguments);
    luaL_addstring(&buffer, head);
    for (unsigned i = 0; i < arguments; i++) {
        size_t len;
        const char *at = lua_tolstring(L, first + (int)i, &len);

        snprintf(head, sizeof(head), "$%zu\r\n", len);
        luaL_addstring(&buffer, head);
        luaL_addlstring(&buffer, at, len);
        luaL_addlstring(&buffer, "\r\n", 2);
    }
    luaL_pushresult(&buffer);
}
