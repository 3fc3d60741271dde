/* From a response table to the exchange, and back for the hooks that look at it.
 *
 * A response is `{ status, headers, body }`; a header's value is a string, a number, or a list of
 * them where it repeats. Everything is checked here, whoever made the table.
 */
#include "bind/request.h"

#include <string.h>

enum { NAME_MAX_FAST = 128 };

/* What the server says about the connection and the length, nobody else may. */
static bool is_servers_own(struct str name)
{
    static const struct str names[] = {
        {"content-length", 14}, {"transfer-encoding", 17}, {"connection", 10},
        {"keep-alive", 10},     {"x-request-id", 12},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_equal(name, names[i]))
            return true;
    }
    return false;
}

static const char *header_problem(lua_State *L, int name, int value)
{
    if (lua_type(L, name) != LUA_TSTRING)
        return lua_pushfstring(L, "a header's name must be a string, got a %s",
                               luaL_typename(L, name));
    if (!header_valid(request_to_str(L, name), STR("")))
        return lua_pushfstring(L, "\"%s\" is not a header's name", lua_tostring(L, name));
    if (!lua_isstring(L, value))
        return lua_pushfstring(L, "the value of header \"%s\" must be a string, got a %s",
                               lua_tostring(L, name), luaL_typename(L, value));
    lua_pushvalue(L, value);
    if (!header_valid(STR("x"), request_to_str(L, -1)))
        return lua_pushfstring(L, "the value of header \"%s\" has a control character in it",
                               lua_tostring(L, name));
    lua_pop(L, 1);
    return NULL;
}

static void push_lower(lua_State *L, struct str s)
{
    char small[NAME_MAX_FAST] = "";
    char *out = s.len <= sizeof(small) ? small : lua_newuserdata(L, s.len);

    for (size_t i = 0; i < s.len; i++)
        out[i] = (char)(s.at[i] >= 'A' && s.at[i] <= 'Z' ? s.at[i] + 32 : s.at[i]);
    lua_pushlstring(L, out, s.len);
    if (out != small)
        lua_remove(L, -2);
}

void request_push_header_name(lua_State *L, int name, int value)
{
    const char *problem = header_problem(L, name, value);

    if (problem)
        luaL_error(L, "%s", problem);
    push_lower(L, request_to_str(L, name));
}

/* check_header(name, value) -> lower-case name, value as a string; or nil, message */
int request_check_header(lua_State *L)
{
    lua_settop(L, 2);
    if (header_problem(L, 1, 2)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    push_lower(L, request_to_str(L, 1));
    lua_pushvalue(L, 2);
    lua_tolstring(L, -1, NULL);
    return 2;
}

/* --- writing --- */

typedef void put_header(struct exchange *x, struct str name, struct str value);

/* One header; `name` is checked already. The value is at the top and stays there. */
static void put_value(lua_State *L, struct exchange *x, struct str name, put_header *put)
{
    struct str value;

    if (!lua_isstring(L, -1))
        luaL_error(L, "the value of header \"%s\" must be a string, got a %s", name.at,
                   luaL_typename(L, -1));
    value = request_to_str(L, -1);
    if (!header_valid(STR("x"), value))
        luaL_error(L, "the value of header \"%s\" has a control character in it", name.at);
    put(x, name, value);
}

static void put_list(lua_State *L, struct exchange *x, struct str name, put_header *put)
{
    const int count = (int)lua_objlen(L, -1);

    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        put_value(L, x, name,
                  i > 1 && put == exchange_res_set_header ? exchange_res_add_header : put);
        lua_pop(L, 1);
    }
}

/* The headers table at the top; each name goes through `put`. */
static void put_headers(lua_State *L, struct exchange *x, put_header *put)
{
    const int headers = lua_gettop(L);

    lua_pushnil(L);
    while (lua_next(L, headers)) {
        struct str name;

        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a header's name must be a string, got a %s", luaL_typename(L, -2));
        name = request_to_str(L, -2);
        if (!header_valid(name, STR("")))
            luaL_error(L, "\"%s\" is not a header's name", name.at);
        if (is_servers_own(name))
            lua_pushnil(L); /* popped below */
        else if (lua_istable(L, -1))
            put_list(L, x, name, put);
        else
            put_value(L, x, name, put);
        lua_settop(L, headers + 1); /* headers name */
    }
}

/* Pushes the raw field of the response at 2. */
static void push_member(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, 2);
}

/* The status of the response at 2; leaves the stack as it was. */
static unsigned check_status(lua_State *L)
{
    lua_Number status;

    push_member(L, "status");
    status = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER || !(status >= 200 && status <= 599) ||
        status != (lua_Number)(int)status) {
        lua_pushfstring(L, "a response's status must be an integer from 200 to 599, got %s",
                        lua_isnumber(L, -1) ? lua_tostring(L, -1) : luaL_typename(L, -1));
        lua_error(L);
    }
    lua_pop(L, 1);
    return (unsigned)status;
}

/* Pushes the headers of the response at 2; false when it has none. */
static bool push_headers(lua_State *L)
{
    push_member(L, "headers");
    if (lua_isnil(L, -1))
        return false;
    if (!lua_istable(L, -1))
        luaL_error(L, "a response's headers must be a table, got a %s", luaL_typename(L, -1));
    return true;
}

/* Pushes the body of the response at 2, a string or nil. */
static void push_body(lua_State *L)
{
    push_member(L, "body");
    if (!lua_isnil(L, -1) && !lua_isstring(L, -1))
        luaL_error(L, "a response's body must be a string, got a %s", luaL_typename(L, -1));
}

/* respond(req, response): the answer, so far unsent */
int request_respond(lua_State *L)
{
    struct exchange *x = request_live(L, 1)->x;
    unsigned status;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    status = check_status(L);
    exchange_respond(x, status);
    if (push_headers(L))
        put_headers(L, x, exchange_res_add_header);
    push_body(L);
    if (lua_isstring(L, -1) && status != 204 && status != 304)
        exchange_res_set_body(x, request_to_str(L, -1));
    return 0;
}

/* --- reading --- */

/* Adds a header to the table at `headers`: a string, and a list once there is a second. */
static void add_header(lua_State *L, int headers, struct header h)
{
    request_push_str(L, h.name);
    lua_pushvalue(L, -1);
    lua_rawget(L, headers); /* name old */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        request_push_str(L, h.value);
        lua_rawset(L, headers);
        return;
    }
    if (!lua_istable(L, -1)) {
        lua_createtable(L, 2, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1); /* name list */
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, headers);
    }
    request_push_str(L, h.value);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 2);
}

static void push_view(lua_State *L, const struct exchange *x)
{
    const size_t count = exchange_res_header_count(x);

    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)exchange_status(x));
    lua_setfield(L, -2, "status");
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++)
        add_header(L, lua_gettop(L), exchange_res_header_at(x, i));
    luaL_getmetatable(L, HEADERS_TYPE);
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "headers");
    request_push_str(L, exchange_res_body(x));
    lua_setfield(L, -2, "body");
    luaL_getmetatable(L, RESPONSE_TYPE);
    lua_setmetatable(L, -2);
}

/* response_view(req) -> response, or nil if there is no response yet */
int request_response_view(lua_State *L)
{
    const struct exchange *x = request_live(L, 1)->x;

    if (!exchange_has_response(x))
        return 0;
    push_view(L, x);
    return 1;
}

/* finish(req) -> the view of a memory exchange after it was sent */
int request_finish(lua_State *L)
{
    struct exchange *x = request_live(L, 1)->x;

    exchange_send(x);
    push_view(L, x);
    return 1;
}

/* --- changing --- */

/* Writes nowhere: finds out whether a table would do before anything is touched. */
static void put_nowhere(struct exchange *x, struct str name, struct str value)
{
    (void)x, (void)name, (void)value;
}

/* Takes away the headers that the table at the top does not have. */
static void remove_missing(lua_State *L, struct exchange *x)
{
    for (size_t i = exchange_res_header_count(x); i-- > 0;) {
        struct str name;

        if (i >= exchange_res_header_count(x))
            continue;
        name = exchange_res_header_at(x, i).name;
        request_push_str(L, name);
        lua_rawget(L, -2);
        if (lua_isnil(L, -1))
            exchange_res_remove_header(x, name);
        lua_pop(L, 1);
    }
}

/* apply_response(req, response): what a hook made of the view becomes the response. Raises, and
 * changes nothing, if something in it would not do.
 */
int request_apply_response(lua_State *L)
{
    struct exchange *x = request_live(L, 1)->x;
    unsigned status;
    bool headers;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    status = check_status(L);
    push_body(L);
    headers = push_headers(L); /* req res body headers */
    if (headers)
        put_headers(L, x, put_nowhere);

    exchange_set_status(x, status);
    if (headers) {
        lua_settop(L, 4);
        remove_missing(L, x);
        put_headers(L, x, exchange_res_set_header);
    }
    if (lua_isstring(L, 3) && !str_equal(request_to_str(L, 3), exchange_res_body(x)))
        exchange_res_set_body(x, request_to_str(L, 3));
    return 0;
}
