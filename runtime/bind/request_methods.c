/* The request object's methods, and the call of a string that reads a query. */
#include "bind/request.h"

#include <string.h>

#include "bind/url.h"

/* Pushes the field `key` of the object at 1, as Lua code would read it. */
static void read_field(lua_State *L, const char *key)
{
    lua_pushstring(L, key);
    lua_gettable(L, 1);
}

/* req:header(name) -> value or nil */
int request_header(lua_State *L)
{
    struct request_ref *ref = request_check(L, 1);
    struct str name;

    name.at = luaL_checklstring(L, 2, &name.len);
    if (ref->cached) {
        lua_getfenv(L, 1);
        lua_pushliteral(L, "headers");
        lua_rawget(L, -2);
        if (lua_istable(L, -1)) {
            luaL_Buffer lower;

            luaL_buffinit(L, &lower);
            for (size_t i = 0; i < name.len; i++) {
                const char c = name.at[i];
                luaL_addchar(&lower, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
            }
            luaL_pushresult(&lower);
            lua_rawget(L, -2);
            return 1;
        }
    }
    request_push_header_value(L, request_live(L, 1)->x, name);
    return 1;
}

/* req:set_header(name, value): nil removes it */
int request_set_header(lua_State *L)
{
    request_check(L, 1);
    lua_settop(L, 3);
    luaL_checktype(L, 2, LUA_TSTRING);
    if (lua_isnil(L, 3))
        lua_pushliteral(L, "");
    else
        lua_pushvalue(L, 3);
    request_push_header_name(L, 2, 4); /* .. name */
    read_field(L, "headers");
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_insert(L, -2); /* headers name */
    if (!lua_isnil(L, 3))
        luaL_checklstring(L, 3, NULL); /* a number becomes text */
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    return 0;
}

void request_add_params(struct bind_request *slot, const struct route_match *match, bool copy)
{
    const size_t count = slot->param_count + match->param_count;
    struct route_param *params = exchange_alloc(slot->x, count * sizeof(*params));

    for (size_t i = 0; i < match->param_count; i++) {
        params[i] = match->params[i];
        if (copy && params[i].value.len) {
            char *value = exchange_alloc(slot->x, params[i].value.len);
            memcpy(value, params[i].value.at, params[i].value.len);
            params[i].value.at = value;
        }
    }
    if (slot->param_count)
        memcpy(params + match->param_count, slot->params, slot->param_count * sizeof(*params));
    slot->params = params;
    slot->param_count = count;
}

static void push_unescaped(lua_State *L, struct str s, bool plus)
{
    char small[256];
    char *out = s.len <= sizeof(small) ? small : lua_newuserdata(L, s.len);
    const struct str plain = {out, url_unescape(s, plus, out)};

    request_push_str(L, plain);
    if (out != small)
        lua_remove(L, -2);
}

/* No unescaping makes a "..": such a value stays as the client wrote it. */
static void push_param(lua_State *L, struct str value)
{
    if (!value.len || !memchr(value.at, '%', value.len)) {
        request_push_str(L, value);
        return;
    }
    push_unescaped(L, value, false);
    if (!url_climbs(request_to_str(L, -1)))
        return;
    lua_pop(L, 1);
    request_push_str(L, value);
}

/* req:param(name) -> value or nil */
int request_param(lua_State *L)
{
    const struct bind_request *slot = request_live(L, 1);
    struct str name;

    name.at = luaL_checklstring(L, 2, &name.len);
    for (size_t i = 0; i < slot->param_count; i++) {
        if (!str_equal(slot->params[i].name, name))
            continue;
        push_param(L, slot->params[i].value);
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

/* Adds the value on top to the list that `all` (an index) has for the name below it; pops both. */
static void add_value(lua_State *L, int all)
{
    lua_pushvalue(L, -2);
    lua_rawget(L, all); /* name value values */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, all);
    }
    lua_insert(L, -2); /* name values value */
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 2);
}

/* Pushes { name = { values } }, or nil when there are more than `most` pairs (negative: no bound).
 */
static void push_lists(lua_State *L, struct str rest, lua_Integer most)
{
    struct str name, value;
    int all;

    lua_newtable(L);
    all = lua_gettop(L);
    while (url_next_pair(&rest, &name, &value)) {
        if (most == 0) {
            lua_pushnil(L);
            lua_replace(L, all);
            return;
        }
        if (most > 0)
            most--;
        push_unescaped(L, name, true);
        push_unescaped(L, value, true);
        add_value(L, all);
    }
}

/* parse_query(text, most) -> { name = { values } }, or nil when there are more than `most` */
int request_parse_query(lua_State *L)
{
    struct str text;

    text.at = luaL_checklstring(L, 1, &text.len);
    push_lists(L, text, luaL_checkinteger(L, 2));
    return 1;
}

/* req:queries() -> { name = { values } } */
int request_queries(lua_State *L)
{
    request_check(L, 1);
    lua_settop(L, 1);
    read_field(L, "query");
    push_lists(L, request_to_str(L, 2), -1);
    return 1;
}

/* Pushes the first value of `wanted` in `query`, or nil. */
static void push_query_value(lua_State *L, struct str query, struct str wanted)
{
    struct str name, value;

    while (url_next_pair(&query, &name, &value)) {
        push_unescaped(L, name, true);
        if (str_equal(request_to_str(L, -1), wanted)) {
            lua_pop(L, 1);
            push_unescaped(L, value, true);
            return;
        }
        lua_pop(L, 1);
    }
    lua_pushnil(L);
}

/* `req.query` is a string, so that hooks can read it, and `req:query(name)` calls that string.
 * Any other call of a string is the error that it always was.
 */
int request_string_call(lua_State *L)
{
    bool ours = request_ref(L, 2) && lua_type(L, 3) == LUA_TSTRING;

    if (ours) {
        lua_pushliteral(L, "query");
        lua_gettable(L, 2);
        ours = lua_rawequal(L, 1, -1);
    }
    if (!ours)
        return luaL_error(L, "attempt to call a string value");
    push_query_value(L, request_to_str(L, 1), request_to_str(L, 3));
    return 1;
}

/* unescape(text, plus) -> text */
int request_unescape(lua_State *L)
{
    struct str s;

    s.at = luaL_checklstring(L, 1, &s.len);
    push_unescaped(L, s, lua_toboolean(L, 2));
    return 1;
}
