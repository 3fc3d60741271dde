/* A Cookie header, and behind a newline the value of one: what the library (Lua, in a state of its
 * own) reads. It reads what it has written; the session's cookie is read by C as the library would;
 * and of what C has taken that out of, the library reads everything else and nothing of a session.
 */
#include "fuzz.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/buf.h"
#include "bind/session_cookie.h"
#include "vm/library.h"

static lua_State *open_library(void)
{
    lua_State *L = luaL_newstate();
    const struct library_module *module = library_modules;

    require(L != NULL);
    luaL_openlibs(L);
    while (strcmp(module->name, "buntime.cookie") != 0)
        module++;
    require(luaL_loadbuffer(L, (const char *)module->code, module->len, module->name) == 0);
    require(lua_pcall(L, 0, 1, 0) == 0);
    return L;
}

/* cookie.get(header, name), left on the stack; a string, or absent. */
static struct str get(lua_State *L, struct str header, const char *name)
{
    struct str value = {0};

    lua_getfield(L, 1, "get");
    lua_pushlstring(L, header.at, header.len);
    lua_pushstring(L, name);
    require(lua_pcall(L, 2, 1, 0) == 0);
    require(lua_isnil(L, -1) || lua_type(L, -1) == LUA_TSTRING);
    value.at = lua_tolstring(L, -1, &value.len);
    return value;
}

static bool same(struct str a, struct str b)
{
    return (a.at == NULL) == (b.at == NULL) && str_equal(a, b);
}

/* --- written and read --- */

static bool is_cookie_octet(char c)
{
    return c > ' ' && c <= '~' && !strchr("\",;\\", c);
}

static void check_written(lua_State *L, struct str value)
{
    struct buf header = {0};
    struct str pair, rest;

    lua_getfield(L, 1, "serialize");
    lua_pushliteral(L, "name");
    lua_pushlstring(L, value.at, value.len);
    require(lua_pcall(L, 2, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING);
    rest.at = lua_tolstring(L, -1, &rest.len);
    pair = take_until(&rest, ';');
    for (size_t i = 0; i < pair.len; i++)
        require(is_cookie_octet(pair.at[i]));
    require(str_equal(rest, STR(" Path=/")));
    buf_puts(&header, "other=1; ");
    buf_add_str(&header, pair);
    buf_puts(&header, "; name=2");
    require(same(get(L, buf_str(&header), "name"), value));
    buf_fini(&header);
}

/* --- the session --- */

/* The library also takes quotes and escapes off a value, which no token has. */
static bool is_plain(struct str s)
{
    return s.len == 0 || (!memchr(s.at, '%', s.len) && s.at[0] != '"');
}

static void check_session(lua_State *L, struct str header)
{
    static const char *const others[] = {"a", "b", "buntime", "session"};
    struct buf left = {0}, again = {0};
    struct str token = {0}, none = {0};
    const bool found = session_cookie_sort(header, &token, &left);
    const struct str read = get(L, header, SESSION_COOKIE);

    require(found == (token.at != NULL) && found == (read.at != NULL));
    require(!found || !is_plain(token) || str_equal(token, read));
    require(!get(L, buf_str(&left), SESSION_COOKIE).at);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        require(same(get(L, header, others[i]), get(L, buf_str(&left), others[i])));
    require(!session_cookie_sort(buf_str(&left), &none, &again) && !none.at);
    require(str_equal(buf_str(&again), buf_str(&left)));
    buf_fini(&left);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    struct str rest = {(const char *)data, size};
    const struct str header = take_until(&rest, '\n');
    char *copy = exact_copy(header);

    if (!L)
        L = open_library();
    check_session(L, (struct str){copy, header.len});
    lua_settop(L, 1);
    check_written(L, rest);
    lua_settop(L, 1);
    free(copy);
    return 0;
}
