/* The body of a request to the control plane: as JSON (fuzz_json), and then what the management API
 * makes of it, which is Lua: api_json.lua says what has to hold.
 */
#include "fuzz.h"

#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/duration.h"
#include "base/permission.h"
#include "bind/bind.h"
#include "bind/json.h"
#include "vm/library.h"

enum { RULES = 2, CHECK = 3 };

static int duration(lua_State *L)
{
    struct str text;
    uint64_t ms;

    text.at = luaL_checklstring(L, 1, &text.len);
    if (!duration_parse(text, &ms))
        return 0;
    lua_pushnumber(L, (lua_Number)ms);
    return 1;
}

static void push_permissions(lua_State *L, unsigned set)
{
    int len = 0;

    lua_newtable(L);
    for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
        if (!(set & 1U << i))
            continue;
        lua_pushstring(L, permission_name(i));
        lua_rawseti(L, -2, ++len);
    }
}

/* { roles, permissions, duration }, as keys.lua asks the core for it. */
static void push_rules(lua_State *L)
{
    lua_newtable(L);
    push_permissions(L, permissions_all);
    lua_setfield(L, -2, "permissions");
    lua_pushcfunction(L, duration);
    lua_setfield(L, -2, "duration");
    lua_newtable(L);
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        const struct role *role = role_at(i);

        lua_newtable(L);
        lua_pushstring(L, role->name);
        lua_setfield(L, -2, "name");
        lua_pushboolean(L, role->custom);
        lua_setfield(L, -2, "custom");
        push_permissions(L, role->set);
        lua_setfield(L, -2, "permissions");
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "roles");
}

/* package.loaders gets the library's; the stack: an unused place, the rules, the function. */
static lua_State *open_library(void)
{
    lua_State *L = luaL_newstate();

    require(L != NULL);
    luaL_openlibs(L);
    require(lua_cpcall(L, bind_json_open, NULL) == 0);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    lua_pushcfunction(L, library_loader);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_settop(L, 1);
    push_rules(L);
    if (luaL_dofile(L, "spec/fuzz/api_json.lua") != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    require(lua_gettop(L) == CHECK && lua_isfunction(L, CHECK));
    return L;
}

static int check(lua_State *L)
{
    const struct str *text = lua_touserdata(L, 1);

    /* text rules check -- */
    if (!json_decode_value(L, *text))
        return 0;
    lua_pushvalue(L, 3); /* text rules check body check */
    lua_insert(L, -2);
    lua_pushvalue(L, 2); /* text rules check check body rules */
    lua_call(L, 2, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    char *copy = exact_copy((struct str){(const char *)data, size});
    struct str text = {copy, size};

    if (!L)
        L = open_library();
    lua_pushcfunction(L, check);
    lua_pushlightuserdata(L, &text);
    lua_pushvalue(L, RULES);
    lua_pushvalue(L, CHECK);
    if (lua_pcall(L, 3, 0, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    require(lua_gettop(L) == CHECK);
    free(copy);
    return 0;
}
