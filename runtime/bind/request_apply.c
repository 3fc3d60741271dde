/* Requests made by tests, and the way back of what a hook assigned. */
#include "bind/request.h"

#include <string.h>

#include "base/buf.h"
#include "base/urlpath.h"
#include "bind/bind.h"
#include "vm/task.h"

struct memory_exchange {
    struct exchange *x;
    struct bind_request *request;
    struct task *waiting; /* for the end of a stream */
    bool begun, sent;
};

int request_memory_collect(lua_State *L)
{
    struct memory_exchange *memory = lua_touserdata(L, 1);

    bind_request_close(memory->request);
    if (memory->x)
        exchange_free(memory->x);
    *memory = (struct memory_exchange){.x = NULL};
    return 0;
}

static struct str optional(lua_State *L, int arg)
{
    return lua_isnoneornil(L, arg) ? (struct str){NULL, 0} : request_to_str(L, arg);
}

/* The flat list { name, value, … } at `arg` as an array, which is pushed. */
static const struct header *push_header_array(lua_State *L, int arg, size_t count)
{
    struct header *headers = lua_newuserdata(L, (count + 1) * sizeof(*headers));

    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, arg, (int)(2 * i) + 1);
        lua_rawgeti(L, arg, (int)(2 * i) + 2);
        headers[i] = (struct header){request_to_str(L, -2), request_to_str(L, -1)};
        lua_pop(L, 2);
    }
    return headers;
}

static void memory_sent(struct exchange *x, void *owner)
{
    struct memory_exchange *memory = owner;
    struct task *task = memory->waiting;

    (void)x;
    memory->sent = true;
    memory->waiting = NULL;
    if (task)
        task_resume(task, 0);
}

static void stop_waiting(void *arg)
{
    struct memory_exchange *memory = arg;

    memory->waiting = NULL;
}

/* finish(req): sends a memory exchange and waits for the end of its body */
int request_finish(lua_State *L)
{
    struct bind_request *slot = request_live(L, 1);
    struct memory_exchange *memory = slot->memory;

    if (!memory || memory->begun || !exchange_has_response(slot->x))
        return luaL_error(L, "only a response to a request of a test can be finished, once");
    memory->begun = true;
    exchange_send(slot->x);
    lua_pushboolean(L, 1);
    if (memory->sent)
        return 1;
    if (!task_current(L))
        return luaL_error(L, "the stream waits, but nothing here can wait for it");
    memory->waiting = task_current(L);
    return task_wait(L, stop_waiting, memory);
}

/* stream_error(req) -> whether the stream failed, and what its function raised */
int request_stream_error(lua_State *L)
{
    const struct bind_request *slot = request_live(L, 1);

    lua_pushboolean(L, exchange_stream_failed(slot->x));
    lua_rawgeti(L, LUA_REGISTRYINDEX, slot->error);
    return 2;
}

/* new(method, target, body, headers, ip, id, pieces) -> request on a memory exchange, or nil.
 * After so many pieces of a stream its client goes.
 */
int request_new(lua_State *L)
{
    struct memory_exchange *memory;
    struct exchange_init init = {0};

    lua_settop(L, 7);
    luaL_checktype(L, 4, LUA_TTABLE);
    init.max_pieces = (size_t)luaL_optinteger(L, 7, 0);
    lua_settop(L, 6);
    init.method.at = luaL_checklstring(L, 1, &init.method.len);
    init.target.at = luaL_checklstring(L, 2, &init.target.len);
    init.body = optional(L, 3);
    init.ip = optional(L, 5);
    init.id = optional(L, 6);
    init.header_count = lua_objlen(L, 4) / 2;
    init.headers = push_header_array(L, 4, init.header_count);

    memory = lua_newuserdata(L, sizeof(*memory)); /* .. memory */
    *memory = (struct memory_exchange){.x = NULL};
    luaL_getmetatable(L, MEMORY_EXCHANGE_TYPE);
    lua_setmetatable(L, -2);
    memory->x = exchange_new(&init, memory_sent);
    if (!memory->x)
        return 0;
    exchange_watch(memory->x, NULL, memory);
    memory->request = bind_request_push(L, memory->x, 0); /* .. memory request */
    memory->request->memory = memory;
    request_push_cache(L, 8 + 1, request_ref(L, 8 + 1));
    lua_pushvalue(L, 8);
    lua_rawseti(L, -2, 1); /* kept as long as the object */
    lua_pop(L, 1);
    return 1;
}

static bool method_is_sound(struct str method)
{
    return header_valid(method, STR(""));
}

static bool path_is_sound(struct str path)
{
    struct buf scratch = {0};
    struct str normal;
    const bool ok = path.len && path.at[0] == '/' && !memchr(path.at, '?', path.len) &&
                    !memchr(path.at, '#', path.len) && urlpath_normalize(path, &scratch, &normal);

    buf_fini(&scratch);
    return ok;
}

static bool query_is_sound(struct str query)
{
    for (size_t i = 0; i < query.len; i++) {
        const unsigned char c = (unsigned char)query.at[i];

        if (c <= ' ' || c == 0x7f || c == '#')
            return false;
    }
    return true;
}

/* What a hook put in must be something that the server would have let in. */
static const struct {
    const char *field;
    unsigned change;
    bool (*sound)(struct str value);
} checks[] = {
    {"method", CHANGED_METHOD, method_is_sound},
    {"path", CHANGED_PATH, path_is_sound},
    {"query", CHANGED_QUERY, query_is_sound},
};

static void check_changes(lua_State *L, const struct request_ref *ref)
{
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        const char *field = checks[i].field;

        if (ref->changed & checks[i].change && !checks[i].sound(request_assigned(L, 1, field)))
            luaL_error(L, "request.%s was set to something that is no %s: \"%s\"", field, field,
                       request_assigned(L, 1, field).at);
    }
}

/* Pushes a copy of the headers table at the top in which every name and value is as it should. */
static void push_checked_headers(lua_State *L)
{
    const int from = lua_gettop(L);

    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, from)) { /* .. to name value */
        request_push_header_name(L, from + 2, from + 3);
        lua_pushvalue(L, from + 3);
        lua_tolstring(L, -1, NULL);
        lua_rawset(L, from + 1);
        lua_pop(L, 1);
    }
}

/* Makes the exchange's headers those of the table at the top. */
static void apply_headers(lua_State *L, struct exchange *x)
{
    const int headers = lua_gettop(L);

    for (size_t i = exchange_header_count(x); i-- > 0;) {
        if (i >= exchange_header_count(x))
            continue;
        request_push_str(L, exchange_header_at(x, i).name);
        lua_rawget(L, headers);
        if (lua_isnil(L, -1))
            exchange_remove_header(x, exchange_header_at(x, i).name);
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    while (lua_next(L, headers)) {
        request_push_header_value(L, x, request_to_str(L, -2)); /* name value now */
        if (!lua_rawequal(L, -1, -2))
            exchange_set_header(x, request_to_str(L, -3), request_to_str(L, -2));
        lua_pop(L, 2);
    }
}

static void apply_path(lua_State *L, const struct bind_request *slot)
{
    const struct str path = request_assigned(L, 1, "path");
    char *whole = exchange_alloc(slot->x, slot->strip + path.len + 1);

    memcpy(whole, exchange_path(slot->x).at, slot->strip);
    memcpy(whole + slot->strip, path.at, path.len);
    exchange_set_path(slot->x, (struct str){whole, slot->strip + path.len});
}

/* apply(req): what was assigned becomes the request. Raises, and changes nothing, if a value
 * would not do.
 */
int request_apply(lua_State *L)
{
    struct request_ref *ref = request_check(L, 1);
    const struct bind_request *slot = request_live(L, 1);
    const unsigned changed = ref->changed;

    lua_settop(L, 1);
    if (!ref->cached)
        return 0;
    check_changes(L, ref);
    lua_getfenv(L, 1);
    lua_getfield(L, -1, "headers");
    if (lua_istable(L, -1)) {
        push_checked_headers(L);
        apply_headers(L, slot->x);
    }
    ref->changed = 0;
    if (changed & CHANGED_METHOD)
        exchange_set_method(slot->x, request_assigned(L, 1, "method"));
    if (changed & CHANGED_PATH)
        apply_path(L, slot);
    if (changed & CHANGED_QUERY)
        exchange_set_query(slot->x, request_assigned(L, 1, "query").len
                                        ? request_assigned(L, 1, "query")
                                        : (struct str){NULL, 0});
    if (changed & CHANGED_BODY)
        exchange_set_body(slot->x, request_assigned(L, 1, "body"));
    return 0;
}
