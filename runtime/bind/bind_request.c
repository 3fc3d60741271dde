/* buntime.core.request: the request object, read on demand and changed on return.
 *
 * Reading a field copies it out of the exchange and keeps it in the object's environment table;
 * assigning puts it there as well. The exchange changes only when a hook returned the object and
 * apply() is called, so a hook that raises leaves it as it was.
 */
#include "bind/request.h"

#include <string.h>

#include "bind/bind.h"
#include "bind/upload.h"

#define SLOTS_AT_ONCE 32

struct request_pool {
    struct bind_request *free;
    int metatable; /* registry reference */
    int chunks;
};

static const char magic, pool_key;

struct request_ref *request_ref(lua_State *L, int arg)
{
    struct request_ref *ref = lua_touserdata(L, arg);

    /* what is no full userdata has no address, or no length */
    if (!ref || lua_objlen(L, arg) != sizeof(*ref) || ref->magic != &magic)
        return NULL;
    return ref;
}

struct request_ref *request_check(lua_State *L, int arg)
{
    struct request_ref *ref = request_ref(L, arg);

    if (!ref)
        luaL_typerror(L, arg, "request");
    return ref;
}

static struct bind_request *live(lua_State *L, const struct request_ref *ref)
{
    if (ref->generation != ref->slot->generation)
        luaL_error(L, "request is closed");
    return ref->slot;
}

struct bind_request *request_live(lua_State *L, int arg)
{
    return live(L, request_check(L, arg));
}

/* --- the pool --- */

/* The pool's userdata is at the top; its environment keeps the chunks. */
static void add_chunk(lua_State *L, struct request_pool *pool)
{
    struct bind_request *slots = lua_newuserdata(L, SLOTS_AT_ONCE * sizeof(*slots));

    memset(slots, 0, SLOTS_AT_ONCE * sizeof(*slots));
    lua_getfenv(L, -2); /* pool chunk env */
    lua_insert(L, -2);
    lua_rawseti(L, -2, ++pool->chunks);
    lua_pop(L, 1); /* pool */
    for (size_t i = 0; i < SLOTS_AT_ONCE; i++) {
        slots[i].pool = pool;
        slots[i].error = LUA_NOREF;
        slots[i].next = pool->free;
        pool->free = &slots[i];
    }
}

/* Pushes the pool. */
static struct request_pool *push_pool(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&pool_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    return lua_touserdata(L, -1);
}

struct bind_request *bind_request_push(lua_State *L, struct exchange *x, size_t strip)
{
    struct request_pool *pool = push_pool(L);
    struct request_ref *ref;
    struct bind_request *slot;

    if (!pool) {              /* nobody required the module yet */
        bind_request_open(L); /* nil nil module */
        lua_pop(L, 3);
        pool = push_pool(L);
    }
    if (!pool->free)
        add_chunk(L, pool);
    lua_pop(L, 1);
    ref = lua_newuserdata(L, sizeof(*ref));
    slot = pool->free;
    pool->free = slot->next;
    slot->x = x;
    slot->strip = strip;
    slot->param_count = 0;
    slot->series = NULL;
    slot->memory = NULL;
    *ref = (struct request_ref){
        .magic = &magic, .slot = slot, .generation = slot->generation, .cached = false};
    lua_rawgeti(L, LUA_REGISTRYINDEX, pool->metatable);
    lua_setmetatable(L, -2);
    return slot;
}

struct metric_route *bind_request_series(const struct bind_request *request)
{
    return request->series;
}

void bind_request_close(struct bind_request *request)
{
    if (!request)
        return;
    if (request->held) {
        request->left = true;
        return;
    }
    uploads_drop(request->uploads);
    request->uploads = NULL;
    request->generation++;
    request->x = NULL;
    request->error = LUA_NOREF;
    request->next = request->pool->free;
    request->pool->free = request;
}

void bind_request_hold(struct bind_request *request)
{
    request->held = true;
    request->left = false;
}

void bind_request_release(struct bind_request *request)
{
    request->held = false;
    if (request->left)
        bind_request_close(request);
}

/* --- fields --- */

void request_push_cache(lua_State *L, int arg, struct request_ref *ref)
{
    if (ref->cached) {
        lua_getfenv(L, arg);
        return;
    }
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -1);
    lua_setfenv(L, arg);
    ref->cached = true;
}

static struct str stripped_path(const struct bind_request *slot)
{
    struct str path = exchange_path(slot->x);

    if (path.len <= slot->strip)
        return STR("/");
    path.at += slot->strip;
    path.len -= slot->strip;
    return path;
}

struct str request_assigned(lua_State *L, int arg, const char *field)
{
    struct str s;

    lua_getfenv(L, arg);
    lua_pushstring(L, field);
    lua_rawget(L, -2);
    s = request_to_str(L, -1);
    lua_pop(L, 2);
    return s;
}

struct str request_method(lua_State *L, int arg)
{
    const struct request_ref *ref = lua_touserdata(L, arg);

    return ref->changed & CHANGED_METHOD ? request_assigned(L, arg, "method")
                                         : exchange_method(ref->slot->x);
}

struct str request_path(lua_State *L, int arg)
{
    const struct request_ref *ref = lua_touserdata(L, arg);

    return ref->changed & CHANGED_PATH ? request_assigned(L, arg, "path")
                                       : stripped_path(ref->slot);
}

/* Headers that repeat are one value with commas, as RFC 9110 has it; cookies with semicolons. */
static void append_header(lua_State *L, struct str name, struct str value)
{
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        request_push_str(L, value);
        return;
    }
    lua_pushstring(L, str_equal(name, STR("cookie")) ? "; " : ", ");
    request_push_str(L, value);
    lua_concat(L, 3);
}

static void push_headers(lua_State *L, const struct bind_request *slot)
{
    const size_t count = exchange_header_count(slot->x);

    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        const struct header h = exchange_header_at(slot->x, i);

        request_push_str(L, h.name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3); /* headers name old */
        append_header(L, h.name, h.value);
        lua_rawset(L, -3);
    }
}

void request_push_header_value(lua_State *L, const struct exchange *x, struct str name)
{
    const size_t count = exchange_header_count(x);

    lua_pushnil(L);
    for (size_t i = 0; i < count; i++) {
        const struct header h = exchange_header_at(x, i);

        if (h.name.len == name.len && str_equal_nocase(h.name, name))
            append_header(L, h.name, h.value);
    }
}

static void push_method(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_method(slot->x));
}

static void push_path(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, stripped_path(slot));
}

static void push_query(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_query(slot->x));
}

static void push_body(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_body(slot->x));
}

static void push_id(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_id(slot->x));
}

static void push_ip(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_ip(slot->x));
}

static void push_scheme(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_scheme(slot->x));
}

static void push_authority(lua_State *L, const struct bind_request *slot)
{
    request_push_str(L, exchange_authority(slot->x));
}

/* The address as the client wrote it: whole, with the base. */
static void push_url(lua_State *L, const struct bind_request *slot)
{
    const struct str query = exchange_query(slot->x);

    request_push_str(L, exchange_scheme(slot->x));
    lua_pushliteral(L, "://");
    request_push_str(L, exchange_authority(slot->x));
    request_push_str(L, exchange_path(slot->x));
    lua_pushstring(L, query.at ? "?" : "");
    request_push_str(L, query);
    lua_concat(L, 6);
}

static const struct {
    const char *name;
    void (*push)(lua_State *L, const struct bind_request *slot);
} fields[] = {
    {"method", push_method},   {"path", push_path},
    {"url", push_url},         {"query", push_query},
    {"headers", push_headers}, {"body", push_body},
    {"id", push_id},           {"ip", push_ip},
    {"scheme", push_scheme},   {"authority", push_authority},
};

/* Pushes a field of the object at `arg`; `key` is the index of its name. */
static void push_field(lua_State *L, int arg, struct request_ref *ref, int key, int field)
{
    const struct bind_request *slot = live(L, ref);

    request_push_cache(L, arg, ref);
    fields[field].push(L, slot); /* cache value */
    lua_pushvalue(L, key);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    lua_remove(L, -2); /* value */
}

/* Upvalue: the class, with the number of each field and the function of each method. */
static int request_index(lua_State *L)
{
    struct request_ref *ref = request_check(L, 1);

    lua_settop(L, 2);
    if (ref->cached) {
        lua_getfenv(L, 1);
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
        if (!lua_isnil(L, -1))
            return 1;
        lua_settop(L, 2);
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_type(L, -1) == LUA_TNUMBER)
        push_field(L, 1, ref, 2, (int)lua_tointeger(L, -1));
    return 1;
}

static const struct {
    const char *name;
    unsigned change;
} writable[] = {
    {"method", CHANGED_METHOD}, {"path", CHANGED_PATH}, {"query", CHANGED_QUERY},
    {"body", CHANGED_BODY},     {"headers", 0}, /* compared whole, so that fields in it count */
};

/* The value at 3 as the field will hold it. */
static void check_assigned(lua_State *L, const char *key)
{
    const bool headers = strcmp(key, "headers") == 0;
    const bool optional = strcmp(key, "query") == 0 || strcmp(key, "body") == 0;

    if (lua_isnil(L, 3) && optional) {
        lua_pushliteral(L, "");
        lua_replace(L, 3);
    }
    if (headers ? !lua_istable(L, 3) : lua_type(L, 3) != LUA_TSTRING)
        luaL_error(L, "request.%s must be a %s, got a %s", key, headers ? "table" : "string",
                   luaL_typename(L, 3));
}

static int request_newindex(lua_State *L)
{
    struct request_ref *ref = request_check(L, 1);
    const char *key = luaL_checkstring(L, 2);

    for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
        if (strcmp(key, writable[i].name) != 0)
            continue;
        live(L, ref);
        check_assigned(L, key);
        request_push_cache(L, 1, ref);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 3);
        lua_rawset(L, -3);
        ref->changed |= writable[i].change;
        return 0;
    }
    return luaL_error(L, "cannot set request.%s (can be set: method, path, query, headers, body)",
                      key);
}

static int request_tostring(lua_State *L)
{
    const struct request_ref *ref = request_check(L, 1);

    if (ref->generation != ref->slot->generation) {
        lua_pushliteral(L, "request (closed)");
        return 1;
    }
    lua_pushliteral(L, "request ");
    request_push_str(L, request_method(L, 1));
    lua_pushliteral(L, " ");
    request_push_str(L, request_path(L, 1));
    lua_concat(L, 4);
    return 1;
}

/* is(value) -> whether it is a request */
static int request_is(lua_State *L)
{
    lua_pushboolean(L, request_ref(L, 1) != NULL);
    return 1;
}

static const luaL_Reg functions[] = {
    {"new", request_new},
    {"is", request_is},
    {"apply", request_apply},
    {"response_view", request_response_view},
    {"finish", request_finish},
    {"stream_error", request_stream_error},
    {"check_header", request_check_header},
    {"parse_query", request_parse_query},
    {"unescape", request_unescape},
    {NULL, NULL},
};

/* With the names of a response's members as upvalues. */
static const luaL_Reg responders[] = {
    {"respond", request_respond},
    {"apply_response", request_apply_response},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"header", request_header},
    {"set_header", request_set_header},
    {"param", request_param},
    {"queries", request_queries},
    {NULL, NULL},
};

/* Pushes the class. Lua code adds the methods that need no C to it. */
static void push_class(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_setfield(L, -2, fields[i].name);
    }
}

/* Makes the object's metatable from the class at the top and returns its reference. */
static int make_metatable(lua_State *L)
{
    lua_newtable(L); /* class mt */
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, request_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, request_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "request");
    lua_setfield(L, -2, "__metatable");
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* The pool keeps the module as well. It is at the top and stays there. */
static void make_pool(lua_State *L, int metatable)
{
    struct request_pool *pool;

    lua_pushlightuserdata(L, (void *)(uintptr_t)&pool_key);
    pool = lua_newuserdata(L, sizeof(*pool)); /* module key pool */
    *pool = (struct request_pool){.free = NULL, .metatable = metatable, .chunks = 0};
    lua_newtable(L);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "module");
    lua_setfenv(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void add_responders(lua_State *L)
{
    for (const luaL_Reg *responder = responders; responder->name; responder++) {
        lua_pushliteral(L, "status");
        lua_pushliteral(L, "headers");
        lua_pushliteral(L, "body");
        lua_pushliteral(L, "source");
        lua_pushliteral(L, "_type");
        lua_pushcclosure(L, responder->func, RESPONSE_MEMBERS);
        lua_setfield(L, -2, responder->name);
    }
}

static void make_strings_callable(lua_State *L)
{
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushcfunction(L, request_string_call);
        lua_setfield(L, -2, "__call");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Makes the metatable `type` and pushes it as a field of the module at the top. */
static void add_metatable(lua_State *L, const char *type, const char *field)
{
    luaL_newmetatable(L, type);
    lua_setfield(L, -2, field);
}

int bind_request_open(lua_State *L)
{
    if (push_pool(L)) { /* opened by bind_request_push() */
        lua_getfenv(L, -1);
        lua_getfield(L, -1, "module");
        return 1;
    }
    luaL_newmetatable(L, MEMORY_EXCHANGE_TYPE);
    lua_pushcfunction(L, request_memory_collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    make_strings_callable(L);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    add_responders(L);
    add_metatable(L, RESPONSE_TYPE, "response_meta");
    add_metatable(L, HEADERS_TYPE, "headers_meta");
    push_class(L); /* module class */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "class");
    const int metatable = make_metatable(L); /* module class */
    lua_pop(L, 1);
    make_pool(L, metatable);
    return 1;
}
