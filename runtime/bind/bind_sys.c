/* buntime.core.sys: the log, clocks, the environment, UUIDs, and URL coding. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "base/random.h"
#include "base/utf8.h"
#include "bind/bind.h"
#include "bind/json.h"
#include "bind/url.h"
#include "conf/fields.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

/* --- log --- */

static int encode(lua_State *L)
{
    json_encode_value(L, 1);
    return 1;
}

static int describe(lua_State *L)
{
    if (!luaL_callmeta(L, 1, "__tostring") || lua_type(L, -1) != LUA_TSTRING)
        lua_pushfstring(L, "%s: %p", luaL_typename(L, 1), lua_topointer(L, 1));
    return 1;
}

/* Calls `fn` with the value at `index`; pushes its result, or nothing. */
static bool apply(lua_State *L, lua_CFunction fn, int index, struct err *err)
{
    lua_pushvalue(L, index);
    lua_pushcfunction(L, fn);
    lua_insert(L, -2);
    return vm_call(L, 1, 1, err);
}

/* Pushes the text with U+FFFD for what is not UTF-8. */
static void push_utf8(lua_State *L, struct str s)
{
    char *out = lua_newuserdata(L, 3 * s.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < s.len;) {
        bool valid;
        const size_t step = utf8_next(s.at + i, s.len - i, &valid);

        memcpy(out + len, valid ? s.at + i : "\xEF\xBF\xBD", valid ? step : 3);
        len += valid ? step : 3;
        i += step;
    }
    lua_pushlstring(L, out, len);
    lua_remove(L, -2);
}

/* Pushes a string that stands for a value which JSON does not have: for a table why, for the rest
 * its own text.
 */
static void push_shown(lua_State *L, int index, const char *why)
{
    struct err err;
    struct str text = str_of("?");

    if (lua_type(L, index) == LUA_TTABLE) {
        push_utf8(L, str_of(why));
        return;
    }
    if (lua_type(L, index) == LUA_TNUMBER || lua_type(L, index) == LUA_TSTRING)
        lua_pushvalue(L, index);
    else if (!apply(L, describe, index, &err))
        lua_pushnil(L);
    if (lua_isstring(L, -1))
        text.at = lua_tolstring(L, -1, &text.len);
    push_utf8(L, text);
    lua_remove(L, -2);
}

static void push_key(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TBOOLEAN)
        lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
    else
        push_shown(L, index, "table");
}

/* fields -- fields safe: a copy in which every value can be written */
static void push_safe_fields(lua_State *L, int fields)
{
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, fields); lua_pop(L, 1)) {
        const int value = lua_gettop(L); /* safe key value */
        struct err err;

        push_key(L, value - 1);
        if (apply(L, encode, value, &err)) {
            lua_pop(L, 1);
            lua_pushvalue(L, value);
        } else {
            push_shown(L, value, err.message);
        }
        lua_rawset(L, value - 2);
    }
}

/* Pushes the fields as the text of an object. One that JSON cannot hold is shown as a string, and
 * does not take the others with it.
 */
static const char *push_fields(lua_State *L, int fields)
{
    struct err err;

    if (apply(L, encode, fields, &err)) {
        if (*lua_tostring(L, -1) == '{')
            return lua_tostring(L, -1);
        lua_pop(L, 1); /* a list */
    }
    push_safe_fields(L, fields);
    json_encode_value(L, -1);
    return lua_tostring(L, -1);
}

static enum log_level check_level(lua_State *L, int arg)
{
    static const char *const names[] = {[LOG_DEBUG] = "debug",
                                        [LOG_INFO] = "info",
                                        [LOG_WARN] = "warn",
                                        [LOG_ERROR] = "error",
                                        NULL};

    return (enum log_level)luaL_checkoption(L, arg, NULL, names);
}

/* log(level, message, fields?) */
static int write_log(lua_State *L)
{
    const struct task *task = task_current(L);
    struct log_line line = {.level = check_level(L, 1), .message = luaL_checkstring(L, 2)};

    lua_settop(L, 3);
    if (!lua_isnil(L, 3))
        luaL_checktype(L, 3, LUA_TTABLE);
    if (!log_enabled(line.level))
        return 0;
    luaL_checkstack(L, 16, "log");
    line.plugin = vm_name(vm_of(L));
    line.request_id = task ? task_request_id(task) : NULL;
    line.trace = task ? task_trace(task) : NULL;
    if (lua_istable(L, 3))
        line.fields = push_fields(L, 3);
    log_write(&line);
    return 0;
}

/* --- clocks and the environment --- */

/* now() -> seconds since some fixed moment; never goes back */
static int now(lua_State *L)
{
    lua_pushnumber(L, (double)clock_now_ns() / 1e9);
    return 1;
}

/* wall() -> seconds since 1970 */
static int wall(lua_State *L)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    lua_pushnumber(L, (double)at.tv_sec + (double)at.tv_nsec / 1e9);
    return 1;
}

/* env(name) -> value or nil; an empty one counts as unset */
static int env(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    const struct env_source *source = instance ? plugins_options(instance->plugins)->env : NULL;
    const char *name = luaL_checkstring(L, 1);
    const char *value = source ? source->get(source, name) : getenv(name);

    lua_pushstring(L, value && *value ? value : NULL);
    return 1;
}

/* --- UUIDs --- */

static const char pool_key = 0;

/* Made at the first use, as it is a page large and most plugins need none. */
static struct random_pool *random_pool(lua_State *L)
{
    struct random_pool *pool;

    lua_pushlightuserdata(L, (void *)&pool_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    pool = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (pool)
        return pool;
    lua_pushlightuserdata(L, (void *)&pool_key);
    pool = lua_newuserdata(L, sizeof(*pool));
    memset(pool, 0, sizeof(*pool));
    lua_rawset(L, LUA_REGISTRYINDEX);
    return pool;
}

static int uuid4(lua_State *L)
{
    char text[UUID_SIZE];

    uuid_v4(random_pool(L), text);
    lua_pushlstring(L, text, UUID_SIZE - 1);
    return 1;
}

static int uuid7(lua_State *L)
{
    char text[UUID_SIZE];

    uuid_v7(random_pool(L), text);
    lua_pushlstring(L, text, UUID_SIZE - 1);
    return 1;
}

/* --- URL coding --- */

static struct str check_str(lua_State *L, int arg)
{
    struct str s;

    s.at = luaL_checklstring(L, arg, &s.len);
    return s;
}

static void push_unescaped(lua_State *L, struct str s, bool plus)
{
    char *out = lua_newuserdata(L, s.len + 1);

    lua_pushlstring(L, out, url_unescape(s, plus, out));
    lua_remove(L, -2);
}

/* unescape(text, plus?) -> text; what is not an escape stays */
static int unescape(lua_State *L)
{
    push_unescaped(L, check_str(L, 1), lua_toboolean(L, 2));
    return 1;
}

/* escape(text) -> text; everything but A-Z a-z 0-9 - . _ ~ */
static int escape(lua_State *L)
{
    static const char hex[] = "0123456789ABCDEF";
    const struct str s = check_str(L, 1);
    char *out = lua_newuserdata(L, 3 * s.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.at[i];

        if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
            (c && strchr("-._~", c))) {
            out[len++] = (char)c;
        } else {
            out[len++] = '%';
            out[len++] = hex[c >> 4];
            out[len++] = hex[c & 15];
        }
    }
    lua_pushlstring(L, out, len);
    return 1;
}

/* pairs(text) -> { { name, value }, ... } of a query or a form, in order */
static int query_pairs(lua_State *L)
{
    struct str rest = check_str(L, 1), name, value;
    int count = 0;

    lua_newtable(L);
    while (url_next_pair(&rest, &name, &value)) {
        lua_createtable(L, 2, 0); /* pairs pair */
        push_unescaped(L, name, true);
        lua_rawseti(L, -2, 1);
        push_unescaped(L, value, true);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"log", write_log},     {"now", now},       {"wall", wall},
    {"env", env},           {"uuid4", uuid4},   {"uuid7", uuid7},
    {"unescape", unescape}, {"escape", escape}, {"query_pairs", query_pairs},
    {NULL, NULL},
};

int bind_sys_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushliteral(L, BUNTIME_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
