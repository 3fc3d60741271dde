/* buntime.core.json: the module, and the codec that both directions share. */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "bind/bind.h"
#include "bind/json.h"
#include "bind/json_codec.h"

enum {
    BUFFER_FIRST = 1024,
    BUFFER_KEPT = 64 * 1024, /* a larger one is left to the collector */
    KEY_SHOWN = 40,          /* bytes of a key in a path */
};

const char json_empty_array = 0;
static const char codec_key = 0;

/* --- the codec --- */

struct json_codec *json_codec(lua_State *L)
{
    struct json_codec *codec;

    lua_pushlightuserdata(L, (void *)&codec_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    codec = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return codec;
}

static int codec_collect(lua_State *L)
{
    const struct json_codec *codec = lua_touserdata(L, 1);

    freelocale(codec->c_locale);
    return 0;
}

/* codec -- codec */
static void codec_register(lua_State *L)
{
    lua_newtable(L); /* codec mt */
    lua_pushcfunction(L, codec_collect);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2); /* codec */
    lua_pushlightuserdata(L, (void *)&codec_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void codec_new(lua_State *L)
{
    struct json_codec *codec = lua_newuserdata(L, sizeof(*codec)); /* codec */

    *codec = (struct json_codec){.data = NULL};
    codec->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* libc has a static one */
    luaL_newmetatable(L, JSON_ARRAY_TYPE);                      /* codec mark */
    codec->array_mark = lua_topointer(L, -1);
    codec->array_ref = luaL_ref(L, LUA_REGISTRYINDEX); /* codec */
    lua_pushboolean(L, false);
    codec->buffer_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    codec_register(L);
    lua_pop(L, 1); /* - */
}

/* --- its buffer --- */

/* Pushes a new buffer, which from now on is the one that is kept. */
static char *push_buffer(lua_State *L, struct json_codec *codec, size_t cap)
{
    char *data = lua_newuserdata(L, cap);

    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, codec->buffer_ref);
    codec->data = data;
    codec->cap = cap;
    codec->taken = true;
    return data;
}

void json_open(struct json_out *out, struct json_codec *codec, lua_State *L)
{
    if (codec->taken || !codec->data || codec->cap > BUFFER_KEPT) {
        push_buffer(L, codec, BUFFER_FIRST);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, codec->buffer_ref);
        codec->taken = true;
    }
    *out = (struct json_out){.L = L, .codec = codec, .slot = lua_gettop(L)};
    out->data = out->at = codec->data;
    out->end = codec->data + codec->cap;
}

void json_grow(struct json_out *out, size_t more)
{
    const size_t used = (size_t)(out->at - out->data);
    size_t cap = 2 * (size_t)(out->end - out->data);
    char *data;

    if (cap < used + more)
        cap = used + more;
    data = push_buffer(out->L, out->codec, cap);
    memcpy(data, out->data, used);
    lua_replace(out->L, out->slot); /* now the old one may go */
    out->data = data;
    out->at = data + used;
    out->end = data + cap;
}

void json_close(struct json_out *out)
{
    if (out->codec->data == out->data)
        out->codec->taken = false;
}

/* --- paths --- */

static void path_add(struct json_path *path, const char *text, size_t len)
{
    const size_t room = sizeof(path->text) - path->len - sizeof("...: ");

    if (path->full)
        return;
    if (len > room) {
        memcpy(path->text + path->len, "...", sizeof("..."));
        path->len += strlen("...");
        path->full = true;
        return;
    }
    memcpy(path->text + path->len, text, len);
    path->len += len;
    path->text[path->len] = '\0';
}

static bool is_name(const char *key, size_t len)
{
    if (len == 0 || len > KEY_SHOWN || (*key >= '0' && *key <= '9'))
        return false;
    for (size_t i = 0; i < len; i++) {
        const char c = key[i];
        if (!((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

/* What is not printable ASCII is shown as \xNN, so that a message is always good UTF-8. */
void json_path_key(struct json_path *path, const char *key, size_t len)
{
    char text[4 * KEY_SHOWN + 16];
    size_t at = 0;

    if (is_name(key, len)) {
        at = (size_t)snprintf(text, sizeof(text), "%s%.*s", path->len ? "." : "", (int)len, key);
        path_add(path, text, at);
        return;
    }
    at = (size_t)snprintf(text, sizeof(text), "[\"");
    for (size_t i = 0; i < len && i < KEY_SHOWN; i++) {
        const unsigned char c = (unsigned char)key[i];
        const bool plain = c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
        at += (size_t)snprintf(text + at, sizeof(text) - at, plain ? "%c" : "\\x%02x", c);
    }
    at += (size_t)snprintf(text + at, sizeof(text) - at, "%s\"]", len > KEY_SHOWN ? "..." : "");
    path_add(path, text, at);
}

void json_path_index(struct json_path *path, double index)
{
    char text[40];
    const int len = snprintf(text, sizeof(text), "[%.14g]", index);

    path_add(path, text, (size_t)len);
}

const char *json_path_prefix(struct json_path *path)
{
    if (path->len == 0)
        return "";
    memcpy(path->text + path->len, ": ", sizeof(": "));
    return path->text;
}

/* --- the module --- */

void json_mark_array(lua_State *L, int index)
{
    const struct json_codec *codec = json_codec(L);

    lua_pushvalue(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, codec->array_ref);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

bool json_is_array(lua_State *L, int index)
{
    bool marked;

    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    marked = lua_topointer(L, -1) == json_codec(L)->array_mark;
    lua_pop(L, 1);
    return marked;
}

/* encode(value, blame?) -> text. Its upvalue is the codec. The library's own functions hand on a
 * table that knows whom to blame for a value that cannot be written.
 */
static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    json_push_encoded(lua_touserdata(L, lua_upvalueindex(1)), L, 1, lua_istable(L, 2) ? 2 : 0);
    return 1;
}

/* decode(text) -> value | nil, message, code */
static int decode(lua_State *L)
{
    struct str text;

    luaL_checktype(L, 1, LUA_TSTRING);
    text.at = lua_tolstring(L, 1, &text.len);
    if (json_decode_value(L, text))
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2); /* nil message */
    lua_pushliteral(L, "INVALID_JSON");
    return 3;
}

/* array(table?) -> the table, marked */
static int array(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        luaL_argcheck(L, json_is_array(L, 1), 1, "the table has a metatable of its own");
    }
    json_mark_array(L, 1);
    return 1;
}

/* is_array(value) -> whether it is marked */
static int is_array(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, json_is_array(L, 1));
    return 1;
}

static const luaL_Reg functions[] = {
    {"decode", decode},
    {"array", array},
    {"is_array", is_array},
    {NULL, NULL},
};

int bind_json_open(lua_State *L)
{
    if (!json_codec(L))
        codec_new(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, json_codec(L));
    lua_pushcclosure(L, encode, 1);
    lua_setfield(L, -2, "encode");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, (void *)&json_empty_array);
    lua_setfield(L, -2, "empty_array");
    return 1;
}
