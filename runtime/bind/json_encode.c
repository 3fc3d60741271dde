#include "bind/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

#include "bind/json_codec.h"

enum {
    LUA_TCDATA = 10,   /* LuaJIT's, not in its headers */
    STACK_STEP = 16,   /* levels between two lua_checkstack() */
    SLOTS_A_LEVEL = 4, /* key, value, and two to work with */
};

/* The value being written is on top of the stack. Above `base`, which is the root value, come a
 * key and a value for each table that is open: the path, when something is wrong.
 */
struct writer {
    struct json_out out;
    lua_State *L;
    int base;
    int blame; /* json_push_encoded() */
    int depth; /* tables open */
    const void *open[JSON_DEPTH_MAX + 1];
};

static void write_value(struct writer *w);

/* --- errors --- */

static void path_of(const struct writer *w, int levels, struct json_path *path)
{
    for (int i = 0; i < levels && !path->full; i++) {
        const int key = w->base + 1 + 2 * i;

        if (lua_type(w->L, key) == LUA_TSTRING) {
            size_t len;
            const char *text = lua_tolstring(w->L, key, &len);
            json_path_key(path, text, len);
        } else {
            json_path_index(path, lua_tonumber(w->L, key));
        }
    }
}

/* Raises about the value that `levels` keys lead to. */
__attribute__((noreturn, format(printf, 3, 4))) static void
fail(struct writer *w, int levels, const char *fmt, ...)
{
    struct json_path path = {.len = 0};
    char text[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    path_of(w, levels, &path);
    luaL_checkstack(w->L, SLOTS_A_LEVEL, "json.encode");
    if (w->blame) {
        lua_getfield(w->L, w->blame, "_misfit");
        lua_pushvalue(w->L, w->blame);
        lua_pushfstring(w->L, "json.encode: %s%s", json_path_prefix(&path), text);
        lua_call(w->L, 2, 0);
    }
    luaL_error(w->L, "json.encode: %s%s", json_path_prefix(&path), text);
    abort(); /* not reached */
}

/* Raises about the table that is open. */
#define FAIL_TABLE(w, ...) fail((w), (w)->depth - 1, __VA_ARGS__)

/* --- scalars --- */

static inline void put(struct writer *w, char c)
{
    json_need(&w->out, 1);
    *w->out.at++ = c;
}

static inline void put_text(struct writer *w, const char *text, size_t len)
{
    json_need(&w->out, len);
    memcpy(w->out.at, text, len);
    w->out.at += len;
}

static void write_number(struct writer *w, double d)
{
    if (!isfinite(d))
        fail(w, w->depth, isnan(d) ? "number is NaN" : "number is infinite");
    json_need(&w->out, JSON_NUMBER_MAX);
    w->out.at += json_format_number(w->out.codec, w->out.at, d);
}

/* 64-bit integers of the FFI. Their __tostring gives "42LL" or "42ULL"; whatever else it gives
 * is not a number.
 */
static void write_cdata(struct writer *w)
{
    const char *text, *digits;
    size_t len;

    if (!luaL_callmeta(w->L, -1, "__tostring") || lua_type(w->L, -1) != LUA_TSTRING)
        fail(w, w->depth, "cannot encode a cdata");
    text = lua_tostring(w->L, -1);
    digits = text + (*text == '-');
    len = strspn(digits, "0123456789");
    if (len == 0 || (strcmp(digits + len, "LL") != 0 && strcmp(digits + len, "ULL") != 0))
        fail(w, w->depth, "cannot encode a cdata");
    put_text(w, text, (size_t)(digits - text) + len);
    lua_pop(w->L, 1);
}

/* --- tables --- */

static bool is_marked(const struct writer *w)
{
    bool marked;

    if (!lua_getmetatable(w->L, -1))
        return false;
    marked = lua_topointer(w->L, -1) == w->out.codec->array_mark;
    lua_pop(w->L, 1);
    return marked;
}

/* A table inside itself is met again at the latest one round after the depth has passed a power
 * of two, so comparing with the table at that depth finds every cycle at the cost of one look.
 */
static void enter(struct writer *w)
{
    const void *table = lua_topointer(w->L, -1);

    w->depth++;
    if (w->depth > JSON_DEPTH_MAX)
        FAIL_TABLE(w, "nested deeper than %d", JSON_DEPTH_MAX);
    w->open[w->depth] = table;
    if (w->depth > 1) {
        const int power = 1 << (31 - __builtin_clz((unsigned)w->depth - 1));
        if (table == w->open[power])
            FAIL_TABLE(w, "the table contains itself");
    }
    if (w->depth % STACK_STEP == 1 && !lua_checkstack(w->L, (STACK_STEP + 1) * SLOTS_A_LEVEL))
        FAIL_TABLE(w, "nested too deep for the stack that is left");
}

/* table key value: the key does not go with the keys before it. */
__attribute__((noreturn)) static void fail_key(struct writer *w, bool marked)
{
    const int type = lua_type(w->L, -2);

    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        FAIL_TABLE(w, "a key is a %s", lua_typename(w->L, type));
    if (marked)
        FAIL_TABLE(w, "an array has the key \"%.40s\"", lua_tostring(w->L, -2));
    FAIL_TABLE(w, "mixed keys: the table has strings and numbers");
}

/* table key value: the first or next entry of an object. */
static void write_entry(struct writer *w, bool first)
{
    size_t len;
    const char *key;

    if (lua_type(w->L, -2) != LUA_TSTRING)
        fail_key(w, false);
    key = lua_tolstring(w->L, -2, &len);
    if (!first)
        put(w, ',');
    if (!json_write_string(&w->out, key, len))
        fail(w, w->depth, "the key is not valid UTF-8");
    put(w, ':');
    write_value(w);
    lua_pop(w->L, 1); /* table key */
}

static void write_object(struct writer *w)
{
    bool first = true;

    put(w, '{');
    do {
        write_entry(w, first);
        first = false;
    } while (lua_next(w->L, -2)); /* table key value */
    put(w, '}');
}

/* What the keys of a table are that is no plain list. */
struct keys {
    double count, max;
    bool has_first; /* 1 is one of them */
    bool whole;     /* all are integers from 1 */
};

/* table -- table */
static struct keys look_at_keys(struct writer *w, bool marked)
{
    struct keys keys = {.whole = true};

    for (lua_pushnil(w->L); lua_next(w->L, -2); lua_pop(w->L, 1)) {
        double n;

        if (lua_type(w->L, -2) != LUA_TNUMBER)
            fail_key(w, marked);
        n = lua_tonumber(w->L, -2);
        keys.count++;
        keys.max = n > keys.max ? n : keys.max;
        keys.has_first |= n == 1;
        keys.whole &= n >= 1 && n == floor(n);
    }
    return keys;
}

/* Numbers that are not 1..n are names: `{"2024":…}`. table -- table */
static void write_numbered(struct writer *w)
{
    bool first = true;

    put(w, '{');
    for (lua_pushnil(w->L); lua_next(w->L, -2); lua_pop(w->L, 1)) {
        const double n = lua_tonumber(w->L, -2);

        if (isinf(n))
            FAIL_TABLE(w, "a key is infinite");
        json_need(&w->out, JSON_NUMBER_MAX + 4);
        if (!first)
            *w->out.at++ = ',';
        *w->out.at++ = '"';
        w->out.at += json_format_number(w->out.codec, w->out.at, n);
        *w->out.at++ = '"';
        *w->out.at++ = ':';
        write_value(w);
        first = false;
    }
    put(w, '}');
}

/* The entries did not come as 1, 2, 3…: the first `done` did and are written. The table may
 * still be a list, kept in Lua's hash part. table key value -- table
 */
static void write_unordered(struct writer *w, int done, bool marked)
{
    struct keys keys;

    lua_pop(w->L, 2);
    keys = look_at_keys(w, marked);
    if (keys.whole && keys.count == keys.max) {
        for (int i = done + 1; i <= (int)keys.max; i++) {
            if (i > 1)
                put(w, ',');
            lua_pushinteger(w->L, i); /* the path needs it */
            lua_rawgeti(w->L, -2, i);
            write_value(w);
            lua_pop(w->L, 2);
        }
        put(w, ']');
        return;
    }
    if (keys.has_first || marked)
        FAIL_TABLE(w, "sparse array: %.0f elements, but the last index is %.14g", keys.count,
                   keys.max);
    w->out.at--; /* the bracket */
    write_numbered(w);
}

/* table key value -- table */
static void write_list(struct writer *w, bool marked)
{
    int i = 0;

    put(w, '[');
    do {
        if (lua_type(w->L, -2) != LUA_TNUMBER || lua_tonumber(w->L, -2) != i + 1) {
            write_unordered(w, i, marked);
            return;
        }
        if (i++ > 0)
            put(w, ',');
        write_value(w);
        lua_pop(w->L, 1);
    } while (lua_next(w->L, -2));
    put(w, ']');
}

static void write_table(struct writer *w)
{
    const bool marked = is_marked(w);

    enter(w);
    lua_pushnil(w->L);
    if (!lua_next(w->L, -2))
        put_text(w, marked ? "[]" : "{}", 2);
    else if (marked || lua_type(w->L, -2) == LUA_TNUMBER)
        write_list(w, marked);
    else
        write_object(w);
    w->depth--;
}

/* --- values --- */

static void write_light(struct writer *w)
{
    const void *value = lua_touserdata(w->L, -1);

    if (!value)
        put_text(w, "null", 4);
    else if (value == &json_empty_array)
        put_text(w, "[]", 2);
    else
        fail(w, w->depth, "cannot encode a userdata");
}

static void write_other(struct writer *w, int type)
{
    switch (type) {
    case LUA_TBOOLEAN:
        if (lua_toboolean(w->L, -1))
            put_text(w, "true", 4);
        else
            put_text(w, "false", 5);
        break;
    case LUA_TNIL:
        put_text(w, "null", 4);
        break;
    case LUA_TLIGHTUSERDATA:
        write_light(w);
        break;
    case LUA_TCDATA:
        write_cdata(w);
        break;
    default:
        fail(w, w->depth, "cannot encode a %s", luaL_typename(w->L, -1));
    }
}

/* Branches for the usual three are predicted better than a jump table. */
static void write_value(struct writer *w)
{
    const int type = lua_type(w->L, -1);

    if (type == LUA_TSTRING) {
        size_t len;
        const char *text = lua_tolstring(w->L, -1, &len);

        if (!json_write_string(&w->out, text, len))
            fail(w, w->depth, "string is not valid UTF-8");
    } else if (type == LUA_TNUMBER) {
        write_number(w, lua_tonumber(w->L, -1));
    } else if (type == LUA_TTABLE) {
        write_table(w);
    } else {
        write_other(w, type);
    }
}

/* Pushes the buffer. */
static void
encode(struct json_out *out, struct json_codec *codec, lua_State *L, int index, int blame)
{
    struct writer w; /* not cleared: `open` is 8 KB, and only what is open is read */

    luaL_checkstack(L, 2 * SLOTS_A_LEVEL, "json.encode");
    lua_pushvalue(L, index);
    json_open(&w.out, codec, L);
    lua_insert(L, -2); /* buffer value */
    w.out.slot--;
    w.L = L;
    w.base = w.out.slot + 1;
    w.blame = blame;
    w.depth = 0;
    write_value(&w);
    lua_pop(L, 1);
    *out = w.out;
}

struct str json_encode(lua_State *L, int index)
{
    struct json_out out;

    encode(&out, json_codec(L), L, index, 0);
    json_close(&out);
    lua_pop(L, 1);
    return (struct str){out.data, (size_t)(out.at - out.data)};
}

void json_push_encoded(struct json_codec *codec, lua_State *L, int index, int blame)
{
    struct json_out out;

    encode(&out, codec, L, index, blame);
    /* The collector may run here, and finalizers with it: the buffer is still taken. */
    lua_pushlstring(L, out.data, (size_t)(out.at - out.data));
    json_close(&out);
    lua_remove(L, -2);
}

void json_encode_value(lua_State *L, int index)
{
    json_push_encoded(json_codec(L), L, index, 0);
}
