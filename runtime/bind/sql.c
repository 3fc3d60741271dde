#include "bind/sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/utf8.h"
#include "bind/json.h"

#define INT64 "buntime.sql.int64"

enum { TYPE_CDATA = 10 }; /* LuaJIT's lua_type() of what the FFI makes */

static const int64_t exact = INT64_C(1) << 53; /* up to here a number is an integer */

/* --- opening --- */

static void set_metatable(lua_State *L, const char *type, const char *field)
{
    luaL_newmetatable(L, type);
    lua_setfield(L, -2, field);
}

void sql_open(lua_State *L)
{
    set_metatable(L, SQL_ERROR_TYPE, "error");
    set_metatable(L, SQL_BLOB_TYPE, "blob");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "ffi");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "typeof");
    lua_pushliteral(L, "int64_t");
    lua_call(L, 1, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, INT64); /* module ffi */
    lua_pop(L, 1);
}

/* --- to SQL --- */

static bool refuse(lua_State *L, int number, const char *what)
{
    lua_pushfstring(L, "value %d %s", number, what);
    return false;
}

bool sql_is_blob(lua_State *L, int index)
{
    bool is = lua_getmetatable(L, index) != 0;

    if (!is)
        return false;
    luaL_getmetatable(L, SQL_BLOB_TYPE);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    lua_rawgeti(L, index, 1);
    is = is && lua_type(L, -1) == LUA_TSTRING;
    lua_pop(L, 1);
    return is;
}

/* "42LL", "42ULL" and nothing else is an integer of 64 bits; it takes its own place on the stack
 * as bare bytes.
 */
static bool check_cdata(lua_State *L, int index, int number)
{
    const char *text = luaL_callmeta(L, index, "__tostring") ? lua_tostring(L, -1) : NULL;
    char *end = NULL;
    int64_t *place;

    errno = 0;
    if (text) {
        const int64_t value = strtoll(text, &end, 10);
        if (end > text && errno == 0 && (strcmp(end, "LL") == 0 || strcmp(end, "ULL") == 0)) {
            place = lua_newuserdata(L, sizeof(*place));
            *place = value;
            lua_replace(L, index);
            lua_pop(L, 1);
            return true;
        }
    }
    if (text)
        lua_pop(L, 1);
    return refuse(L, number, errno == ERANGE ? "is beyond 64 bits" : "is a cdata");
}

static bool check_string(lua_State *L, int index, int number)
{
    struct str s;

    s.at = lua_tolstring(L, index, &s.len);
    return utf8_valid(s) || refuse(L, number, "is not UTF-8; bytes are bound as a blob");
}

static bool check_value(lua_State *L, int index, int number)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
        return true;
    case LUA_TNUMBER:
        return lua_tonumber(L, index) == lua_tonumber(L, index) || refuse(L, number, "is NaN");
    case LUA_TSTRING:
        return check_string(L, index, number);
    case TYPE_CDATA:
        return check_cdata(L, index, number);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index))
            return true;
        break;
    case LUA_TTABLE:
        if (sql_is_blob(L, index))
            return true;
        break;
    }
    lua_pushfstring(
        L, "value %d is a %s; expected a string, number, boolean, nil, json.null or a blob", number,
        luaL_typename(L, index));
    return false;
}

bool sql_check_values(lua_State *L, int first)
{
    const int top = lua_gettop(L);

    luaL_checkstack(L, 8, "too many values");
    for (int i = first; i <= top; i++) {
        if (!check_value(L, i, i - first + 1))
            return false;
    }
    return true;
}

static struct sql_value number_value(double d)
{
    struct sql_value value = {.type = SQL_REAL, .real = d};

    if (d >= -(double)exact && d <= (double)exact && d == (double)(int64_t)d)
        value = (struct sql_value){.type = SQL_INTEGER, .integer = (int64_t)d};
    return value;
}

static void add_bytes(lua_State *L, int index, enum sql_type type, struct buf *out)
{
    struct sql_value value = {.type = type};

    value.bytes.at = lua_tolstring(L, index, &value.bytes.len);
    sql_put(out, &value);
}

static void add_value(lua_State *L, int index, struct buf *out)
{
    struct sql_value value = {.type = SQL_NULL};

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        add_bytes(L, index, SQL_TEXT, out);
        return;
    case LUA_TTABLE:
        lua_rawgeti(L, index, 1);
        add_bytes(L, -1, SQL_BLOB, out);
        lua_pop(L, 1);
        return;
    case LUA_TBOOLEAN:
        value = (struct sql_value){.type = SQL_BOOLEAN, .integer = lua_toboolean(L, index)};
        break;
    case LUA_TNUMBER:
        value = number_value(lua_tonumber(L, index));
        break;
    case LUA_TUSERDATA:
        value.type = SQL_INTEGER;
        memcpy(&value.integer, lua_touserdata(L, index), sizeof(value.integer));
        break;
    }
    sql_put(out, &value);
}

void sql_add_values(lua_State *L, int first, struct buf *out)
{
    const int top = lua_gettop(L);

    for (int i = first; i <= top; i++)
        add_value(L, i, out);
}

/* --- from SQL --- */

void sql_push_integer(lua_State *L, int64_t integer)
{
    if (integer >= -exact && integer <= exact) {
        lua_pushnumber(L, (lua_Number)integer);
        return;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, INT64);
    lua_pushinteger(L, 0);
    lua_call(L, 1, 1);
    /* There is no way in the C API to make one with a value. */
    memcpy((void *)(uintptr_t)lua_topointer(L, -1), &integer, sizeof(integer));
}

/* What the decoder cannot take (a number out of range, too deep) stays text. */
static void push_json(lua_State *L, struct str text)
{
    if (json_decode_value(L, text))
        return;
    lua_pop(L, 1);
    lua_pushlstring(L, text.at, text.len);
}

void sql_push_value(lua_State *L, const struct sql_value *value)
{
    switch (value->type) {
    case SQL_INTEGER:
        sql_push_integer(L, value->integer);
        return;
    case SQL_BOOLEAN:
        lua_pushboolean(L, value->integer != 0);
        return;
    case SQL_REAL:
        lua_pushnumber(L, value->real);
        return;
    case SQL_JSON:
        push_json(L, value->bytes);
        return;
    case SQL_TEXT:
    case SQL_BLOB:
        lua_pushlstring(L, value->bytes.at ? value->bytes.at : "", value->bytes.len);
        return;
    default:
        lua_pushlightuserdata(L, NULL); /* json.null */
    }
}

/* The names are on the stack from `names` on. */
static void push_row(lua_State *L, struct sql_rows *rows, int names)
{
    lua_createtable(L, 0, (int)rows->columns);
    for (unsigned i = 0; i < rows->columns; i++) {
        struct sql_value value;

        rows->at = sql_get(rows->at, &value);
        lua_pushvalue(L, names + (int)i);
        sql_push_value(L, &value);
        lua_rawset(L, -3);
    }
    rows->made++;
}

static int push_names(lua_State *L, const struct sql_rows *rows)
{
    const char *name = rows->names;

    luaL_checkstack(L, (int)rows->columns + 8, "too many columns");
    for (unsigned i = 0; i < rows->columns; i++, name += strlen(name) + 1)
        lua_pushstring(L, name);
    return lua_gettop(L) - (int)rows->columns + 1;
}

void sql_push_list(lua_State *L, size_t count)
{
    lua_createtable(L, (int)count, 0);
    json_mark_array(L, -1);
}

void sql_push_rows(lua_State *L, struct sql_rows *rows, size_t most, size_t bytes)
{
    const int list = lua_gettop(L), names = push_names(L, rows);
    const char *start = rows->at;

    for (size_t i = 0; i < most && rows->made < rows->count; i++) {
        if ((size_t)(rows->at - start) > bytes)
            break;
        push_row(L, rows, names);
        lua_rawseti(L, list, (int)rows->made);
    }
    lua_settop(L, list);
}

void sql_push_row(lua_State *L, struct sql_rows *rows)
{
    int names;

    if (rows->count == 0) {
        lua_pushnil(L);
        return;
    }
    names = push_names(L, rows);
    push_row(L, rows, names);
    lua_replace(L, names);
    lua_settop(L, names);
}

void sql_push_error(
    lua_State *L, const char *code, const char *message, const char *statement, size_t position)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, statement);
    lua_setfield(L, -2, "statement");
    if (position > 0) {
        lua_pushnumber(L, (lua_Number)position);
        lua_setfield(L, -2, "position");
    }
    luaL_getmetatable(L, SQL_ERROR_TYPE);
    lua_setmetatable(L, -2);
}
