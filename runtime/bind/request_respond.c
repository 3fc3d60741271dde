/* From a response table to the exchange, and back for the hooks that look at it.
 *
 * A response is `{ status, headers, body }`; a header's value is a string, a number, or a list of
 * them where it repeats. Everything is checked here, whoever made the table.
 */
#include "bind/request.h"

#include <string.h>

enum { NAME_MAX_FAST = 128, HEADERS_MAX = 256 };

/* What the server says about the connection and the length, nobody else may. */
static bool is_servers_own(struct str name)
{
    static const struct str names[] = {
        {"content-length", 14}, {"transfer-encoding", 17}, {"connection", 10},
        {"keep-alive", 10},     {"x-request-id", 12},
    };

    if (name.len == 12 && name.at[0] == 'c') /* content-type, on the way of every answer */
        return false;
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

/* What a headers table says, checked, before anything of it is used. The text is the table's. */
struct collected {
    size_t count;
    struct header at[HEADERS_MAX];
};

/* With a code, so that a worker can tell this from what went wrong in a handler. */
static void raise_too_many(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "TOO_MANY_HEADERS");
    lua_setfield(L, -2, "code");
    luaL_where(L, 1);
    lua_pushfstring(L, "a response has more than %d headers", HEADERS_MAX);
    lua_concat(L, 2);
    lua_setfield(L, -2, "message");
    lua_error(L);
}

/* The value at the top; it stays there as a string. */
static void collect_value(lua_State *L, struct str name, struct collected *out)
{
    struct header h = {.name = name};

    if (!lua_isstring(L, -1))
        luaL_error(L, "the value of header \"%s\" must be a string, got a %s", name.at,
                   luaL_typename(L, -1));
    h.value = request_to_str(L, -1);
    if (!header_valid(name, h.value))
        luaL_error(L,
                   header_valid(name, STR("")) ? "the value of header \"%s\" has a control "
                                                 "character in it"
                                               : "\"%s\" is not a header's name",
                   name.at);
    if (out->count == HEADERS_MAX)
        raise_too_many(L);
    out->at[out->count++] = h;
}

/* The list at the top. Numbers become strings in it, so that somebody holds them. */
static void collect_list(lua_State *L, struct str name, struct collected *out)
{
    const int count = (int)lua_objlen(L, -1);

    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        collect_value(L, name, out);
        lua_rawseti(L, -2, i);
    }
}

/* The headers table at the top. */
static void collect_headers(lua_State *L, struct collected *out)
{
    const int headers = lua_gettop(L);

    lua_pushnil(L);
    while (lua_next(L, headers)) {
        const bool number = lua_type(L, -1) == LUA_TNUMBER;
        struct str name;

        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a header's name must be a string, got a %s", luaL_typename(L, -2));
        name = request_to_str(L, -2);
        if (is_servers_own(name)) {
            lua_pop(L, 1);
            continue;
        }
        if (lua_istable(L, -1))
            collect_list(L, name, out);
        else
            collect_value(L, name, out);
        if (number) { /* as in a list */
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, headers);
        }
        lua_pop(L, 1); /* headers name */
    }
}

/* Pushes the raw field of the response at 2. The names are upvalues: no hashing on the way. */
static void push_member(lua_State *L, enum response_member member)
{
    lua_pushvalue(L, lua_upvalueindex((int)member));
    lua_rawget(L, 2);
}

/* The status of the response at 2; leaves the stack as it was. 101 only with a socket. */
static unsigned check_status(lua_State *L, bool upgrade)
{
    lua_Number status;

    push_member(L, RESPONSE_STATUS);
    status = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER ||
        !((status >= 200 && status <= 599) || (upgrade && status == 101)) ||
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
    push_member(L, RESPONSE_HEADERS);
    if (lua_isnil(L, -1))
        return false;
    if (!lua_istable(L, -1))
        luaL_error(L, "a response's headers must be a table, got a %s", luaL_typename(L, -1));
    return true;
}

/* Pushes the body of the response at 2, a string or nil. */
static void push_body(lua_State *L)
{
    push_member(L, RESPONSE_BODY);
    if (!lua_isnil(L, -1) && !lua_isstring(L, -1))
        luaL_error(L, "a response's body must be a string, got a %s", luaL_typename(L, -1));
}

const void *response_source_magic(void)
{
    static const char magic;

    return &magic;
}

/* The source at `index` becomes the exchange's. */
static void attach_source(lua_State *L, int index)
{
    const struct response_source *source = lua_touserdata(L, index);

    if (lua_type(L, index) != LUA_TUSERDATA || lua_objlen(L, index) < sizeof(*source) ||
        source->magic != response_source_magic())
        luaL_error(L, "a response's source must be a stream or a file, got a %s",
                   luaL_typename(L, index));
    source->attach(L, index, request_live(L, 1));
}

/* respond(req, response): the answer, so far unsent. Raises, and changes nothing, if something in
 * it would not do.
 */
int request_respond(lua_State *L)
{
    struct exchange *x = request_live(L, 1)->x;
    struct collected headers;
    unsigned status;
    bool has_source;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    push_member(L, RESPONSE_SOURCE);
    has_source = !lua_isnil(L, 3);
    status = check_status(L, has_source);
    push_body(L); /* req res source body */
    headers.count = 0;
    if (push_headers(L))
        collect_headers(L, &headers);
    else
        push_member(L, RESPONSE_CONTENT_TYPE);

    exchange_respond(x, status);
    if (lua_type(L, -1) == LUA_TSTRING)
        exchange_res_add_header(x, STR("content-type"), request_to_str(L, -1));
    for (size_t i = 0; i < headers.count; i++)
        exchange_res_add_header(x, headers.at[i].name, headers.at[i].value);
    if (lua_isstring(L, 4) && status != 204 && status != 304)
        exchange_res_set_body(x, request_to_str(L, 4));
    if (has_source)
        attach_source(L, 3);
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

/* --- changing --- */

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

/* What is left of the table's headers. Those of one list stand together in it. */
static void set_headers(struct exchange *x, const struct collected *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        const struct header h = headers->at[i];

        if (i && str_equal(h.name, headers->at[i - 1].name))
            exchange_res_add_header(x, h.name, h.value);
        else
            exchange_res_set_header(x, h.name, h.value);
    }
}

/* The same where they are only made when somebody looks. */
static bool push_made_headers(lua_State *L)
{
    push_member(L, RESPONSE_CONTENT_TYPE);
    if (!lua_isnil(L, -1)) {
        lua_getfield(L, 2, "headers");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return push_headers(L);
}

/* apply_response(req, response): what a hook made of the view becomes the response. Raises, and
 * changes nothing, if something in it would not do.
 */
int request_apply_response(lua_State *L)
{
    struct exchange *x = request_live(L, 1)->x;
    struct collected headers;
    unsigned status;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    status = check_status(L, exchange_status(x) == 101);
    push_body(L); /* req res body */
    headers.count = 0;
    if (push_made_headers(L)) {
        collect_headers(L, &headers);
        remove_missing(L, x);
        set_headers(x, &headers);
    }
    exchange_set_status(x, status);
    if (lua_isstring(L, 3) && !str_equal(request_to_str(L, 3), exchange_res_body(x)))
        exchange_res_set_body(x, request_to_str(L, 3));
    return 0;
}
