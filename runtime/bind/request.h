/* What the files behind the request object share. Not for other folders.
 *
 * A request object is a small userdata that names a slot; the slot names the exchange. Slots
 * belong to the VM and are used again, each time under a new generation, so an object whose
 * request is over finds out by comparing numbers: neither side holds a pointer that the other
 * could leave dangling, and no object needs a finalizer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/str.h"
#include "http/exchange.h"
#include "http/route.h"

struct metric_route;
struct request_pool;

struct bind_request {
    struct exchange *x;
    uint64_t generation; /* of the object that may use it */
    size_t strip;        /* bytes of the path that are the plugin's base */
    struct route_param *params;
    size_t param_count;
    struct metric_route *series; /* where the request is counted, once a route matched */
    struct request_pool *pool;
    struct bind_request *next;      /* while it is free */
    bool held, left;                /* a stream goes on with it; it was closed meanwhile */
    struct memory_exchange *memory; /* of a request that a test made, else NULL */
    int error;                      /* in tests: reference of what the stream raised */
    struct upload *uploads;         /* bind/upload.h: files that go with the request */
};

/* A value that a response may have as its `source`: a userdata that begins with this. */
struct response_source {
    const void *magic;
    /* Makes it the body of the response that the exchange has got. May raise. */
    void (*attach)(lua_State *L, int index, struct bind_request *request);
};

const void *response_source_magic(void);

/* A stream needs the request when the handler is long done: closing it waits for the release. */
void bind_request_hold(struct bind_request *request);
void bind_request_release(struct bind_request *request);

/* What was assigned to the object and waits for request_apply(). */
enum request_change {
    CHANGED_METHOD = 1,
    CHANGED_PATH = 2,
    CHANGED_QUERY = 4,
    CHANGED_BODY = 8,
};

struct request_ref {
    const void *magic; /* tells our userdata from others */
    struct bind_request *slot;
    uint64_t generation;
    bool cached;      /* has an environment table: what was read, and what was assigned */
    unsigned changed; /* enum request_change */
};

#define MEMORY_EXCHANGE_TYPE "buntime.memory_exchange"

/* The metatables of responses and their headers; lua/buntime/response.lua fills them. */
#define RESPONSE_TYPE "buntime.response"
#define HEADERS_TYPE "buntime.headers"

/* The object at `arg`, or NULL if that is something else. */
struct request_ref *request_ref(lua_State *L, int arg);

/* The same, raising; and the slot behind it, raising also when the request is over. */
struct request_ref *request_check(lua_State *L, int arg);
struct bind_request *request_live(lua_State *L, int arg);

/* Pushes the table of what was read or assigned, made on first use. */
void request_push_cache(lua_State *L, int arg, struct request_ref *ref);

/* What was assigned to `field`. It stays on the object, so it is safe to borrow. */
struct str request_assigned(lua_State *L, int arg, const char *field);

/* As the plugin sees them, assignments included. Borrowed from the object at `arg`. */
struct str request_method(lua_State *L, int arg);
struct str request_path(lua_State *L, int arg);

/* Pushes the values of that name as one, or nil. `name` in any case. */
void request_push_header_value(lua_State *L, const struct exchange *x, struct str name);

/* Pushes the lower-case name of the header at `name`, `value`; raises if it may not be sent.
 * Both are strings, or numbers.
 */
void request_push_header_name(lua_State *L, int name, int value);

/* Remembers what a route made of the path, in front of what is remembered already. Names are
 * borrowed from the route tree. `copy`: the values would not outlive the call.
 */
void request_add_params(struct bind_request *slot, const struct route_match *match, bool copy);

/* Upvalues of respond() and apply_response(): the names of a response's members. */
enum response_member {
    RESPONSE_STATUS = 1,
    RESPONSE_HEADERS,
    RESPONSE_BODY,
    RESPONSE_SOURCE,
    RESPONSE_CONTENT_TYPE, /* looked at when there are no headers */
    RESPONSE_MEMBERS = RESPONSE_CONTENT_TYPE
};

/* Lua functions and methods; each is registered in bind_request.c. */
int request_header(lua_State *L);
int request_set_header(lua_State *L);
int request_param(lua_State *L);
int request_queries(lua_State *L);
int request_string_call(lua_State *L);
int request_parse_query(lua_State *L);
int request_unescape(lua_State *L);
int request_new(lua_State *L);
int request_memory_collect(lua_State *L);
int request_apply(lua_State *L);
int request_check_header(lua_State *L);
int request_respond(lua_State *L);
int request_response_view(lua_State *L);
int request_apply_response(lua_State *L);
int request_finish(lua_State *L);
int request_stream_error(lua_State *L);

static inline struct str request_to_str(lua_State *L, int arg)
{
    struct str s;

    s.at = lua_tolstring(L, arg, &s.len);
    return s;
}

static inline void request_push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.at ? s.at : "", s.len);
}
