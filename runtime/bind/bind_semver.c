/* buntime.core.semver: versions and ranges. */
#include <lauxlib.h>
#include <lua.h>

#include "base/semver.h"
#include "bind/bind.h"

static bool check_version(lua_State *L, int arg, struct semver *version)
{
    struct str text;

    text.at = luaL_checklstring(L, arg, &text.len);
    return semver_parse(text, version);
}

static void set_text(lua_State *L, const char *field, struct str text)
{
    if (text.len == 0)
        return;
    lua_pushlstring(L, text.at, text.len);
    lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, uint64_t number)
{
    lua_pushnumber(L, (lua_Number)number);
    lua_setfield(L, -2, field);
}

/* parse(text) -> { major, minor, patch, prerelease, build }, or nothing */
static int parse(lua_State *L)
{
    struct semver version;

    if (!check_version(L, 1, &version))
        return 0;
    lua_createtable(L, 0, 5);
    set_number(L, "major", version.major);
    set_number(L, "minor", version.minor);
    set_number(L, "patch", version.patch);
    set_text(L, "prerelease", version.prerelease);
    set_text(L, "build", version.build);
    return 1;
}

/* compare(a, b) -> -1, 0 or 1, or nothing when one is no version */
static int compare(lua_State *L)
{
    struct semver a, b;
    int order;

    if (!check_version(L, 1, &a) || !check_version(L, 2, &b))
        return 0;
    order = semver_compare(&a, &b);
    lua_pushinteger(L, (order > 0) - (order < 0));
    return 1;
}

/* satisfies(version, range) -> boolean; nothing when one of them is none */
static int satisfies(lua_State *L)
{
    struct semver version;
    struct semver_range *range;
    struct str text;
    bool inside;

    text.at = luaL_checklstring(L, 2, &text.len);
    if (!check_version(L, 1, &version))
        return 0;
    range = semver_range_parse(text);
    if (!range)
        return 0;
    inside = semver_range_test(range, &version);
    semver_range_free(range);
    lua_pushboolean(L, inside);
    return 1;
}

static const luaL_Reg functions[] = {
    {"parse", parse},
    {"compare", compare},
    {"satisfies", satisfies},
    {NULL, NULL},
};

int bind_semver_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
