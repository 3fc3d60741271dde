/* buntime.core.fetch: HTTP requests to other servers.
 *
 * The Lua value of a fetch is on the VM's ledger until it is closed, which the library does as soon
 * as it has taken everything. One task at a time waits for it; cancelling that task closes it.
 * `changed` may run while the value is garbage but not yet collected, so it looks at nothing in
 * Lua.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/duration.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "data/fetch.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.fetch"
#define METER "buntime.fetch.meter"

enum {
    OPEN_MAX = 1000,
    RECEIVED_MAX =
        256 << 20, /* bytes that one VM's fetches hold; its memory limit sees them later */
    HEADERS_MAX = 200,
};

enum wait { WAIT_HEAD, WAIT_DONE, WAIT_BYTES, WAIT_SENT };
static const char *const wait_names[] = {"head", "done", "bytes", "sent", NULL};

struct meter {
    struct fetch_meter bytes; /* first: fetches know this part */
    unsigned open;
};

struct lua_fetch {
    struct resource resource; /* first: close_resource() casts back */
    struct fetch *fetch;      /* NULL: closed */
    struct meter *meter;
    struct task *task; /* that waits */
    enum wait wait;
};

/* --- its life --- */

static void close_fetch(struct lua_fetch *t)
{
    struct fetch *fetch = t->fetch;

    if (!fetch)
        return;
    t->fetch = NULL;
    t->meter->open--;
    ledger_remove(&t->resource);
    fetch_close(fetch);
}

static void close_resource(struct resource *resource)
{
    close_fetch((struct lua_fetch *)resource);
}

static int collect(lua_State *L)
{
    close_fetch(lua_touserdata(L, 1));
    return 0;
}

/* --- waiting --- */

static bool has_come(const struct lua_fetch *t, enum wait wait)
{
    if (fetch_is_done(t->fetch))
        return true;
    switch (wait) {
    case WAIT_HEAD:
        return fetch_has_head(t->fetch);
    case WAIT_BYTES:
        return fetch_received(t->fetch).len > 0;
    case WAIT_SENT:
        return fetch_wants(t->fetch);
    case WAIT_DONE:
        break;
    }
    return false;
}

static void changed(struct fetch *fetch, void *arg)
{
    struct lua_fetch *t = arg;
    struct task *task = t->task;

    (void)fetch;
    if (!task || !has_come(t, t->wait))
        return;
    t->task = NULL;
    task_resume(task, 0);
}

static void cancelled(void *arg)
{
    struct lua_fetch *t = arg;

    t->task = NULL;
    close_fetch(t);
}

static struct lua_fetch *check(lua_State *L)
{
    return luaL_checkudata(L, 1, TYPE);
}

/* wait(fetch, "head" | "done" | "bytes" | "sent"): waits for that, or for the end */
static int wait_for(lua_State *L)
{
    struct lua_fetch *t = check(L);
    const enum wait wait = (enum wait)luaL_checkoption(L, 2, NULL, wait_names);

    if (!t->fetch || has_come(t, wait)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (t->task)
        return luaL_error(L, "another task waits for this response already");
    if (!task_current(L))
        return luaL_error(L, "cannot wait here: no task is running");
    t->task = task_current(L);
    t->wait = wait;
    return task_wait(L, cancelled, t);
}

/* --- open --- */

/* The strings of a list { name, value, name, value, ... }, which keeps them alive. */
static size_t read_headers(lua_State *L, int index, struct fetch_header *headers)
{
    const size_t len = lua_objlen(L, index) / 2;

    luaL_argcheck(L, len <= HEADERS_MAX, index, "at most 200 headers");
    for (size_t i = 0; i < len; i++) {
        struct fetch_header *h = &headers[i];
        lua_rawgeti(L, index, (int)(2 * i + 1));
        lua_rawgeti(L, index, (int)(2 * i + 2));
        h->name.at = luaL_checklstring(L, -2, &h->name.len);
        h->value.at = luaL_checklstring(L, -1, &h->value.len);
        lua_pop(L, 2);
    }
    return len;
}

/* Unless the plugin gave one itself. */
static void
hand_on(struct fetch_options *o, struct fetch_header *headers, struct str name, const char *value)
{
    if (!value || !*value)
        return;
    for (size_t i = 0; i < o->header_count; i++) {
        if (str_equal_nocase(headers[i].name, name))
            return;
    }
    headers[o->header_count++] = (struct fetch_header){name, str_of(value)};
}

/* The request that this one works for: its id and its trace go on. */
static void add_origin(lua_State *L, struct fetch_options *o, struct fetch_header *headers)
{
    const struct task *task = task_current(L);

    if (!task)
        return;
    hand_on(o, headers, STR("x-request-id"), task_request_id(task));
    hand_on(o, headers, STR("traceparent"), task_trace(task));
}

static void read_body(lua_State *L, int index, struct fetch_options *o)
{
    o->body_size = -1;
    if (lua_type(L, index) == LUA_TSTRING) {
        o->body_kind = FETCH_TEXT;
        o->body.at = lua_tolstring(L, index, &o->body.len);
    } else if (lua_toboolean(L, index)) {
        o->body_kind = FETCH_CHUNKS;
        o->body_size = (int64_t)luaL_optnumber(L, index + 1, -1);
    }
}

static uint64_t read_limit(lua_State *L, int index)
{
    const lua_Number value = luaL_optnumber(L, index, -1);

    return value < 0 || value > 1e15 ? UINT64_MAX : (uint64_t)value;
}

static struct meter *meter_of(lua_State *L)
{
    struct meter *meter;

    lua_getfield(L, LUA_REGISTRYINDEX, METER);
    meter = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return meter;
}

static int refuse(lua_State *L, const char *code, const char *message)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

/* "GET http://host/path", for reports: what fetch_url() and the messages leave out is not in it. */
static void label(struct lua_fetch *t, const char *method)
{
    char *url = fetch_url(t->fetch);

    snprintf(t->resource.label, sizeof(t->resource.label), "%s %.*s", method,
             (int)strcspn(url, "?#"), url);
    free(url);
}

static int start(lua_State *L, struct fetch_options *o)
{
    struct lua_fetch *t = lua_newuserdata(L, sizeof(*t));
    struct err err;

    memset(t, 0, sizeof(*t));
    t->meter = meter_of(L);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    if (t->meter->open >= OPEN_MAX)
        return refuse(L, "FETCH_LIMIT", "1000 fetches of this plugin are open already");
    o->meter = &t->meter->bytes;
    o->changed = changed;
    o->arg = t;
    t->fetch = fetch_open(vm_loop(vm_of(L)), o, &err);
    if (!t->fetch)
        return refuse(L, err.code, err.message);
    t->meter->open++;
    t->resource.kind = "fetch";
    t->resource.close = close_resource;
    label(t, o->method);
    ledger_add(vm_of(L), &t->resource);
    return 1;
}

/* open(url, method, headers, body, body_size, stream, timeout, redirects, max_size) -> fetch, or
 * nil, message, code. `body` true: by send(); timeout in seconds, 0: none; redirects negative: not
 * followed; sizes negative: unknown, no limit
 */
static int open(lua_State *L)
{
    struct fetch_header headers[HEADERS_MAX + 2];
    struct fetch_options o = {.url = luaL_checkstring(L, 1), .method = luaL_checkstring(L, 2)};
    const lua_Number redirects = luaL_checknumber(L, 8);

    luaL_checktype(L, 3, LUA_TTABLE);
    if (!vm_loop(vm_of(L)))
        return luaL_error(L, "cannot fetch here: nothing turns an event loop");
    o.headers = headers;
    o.header_count = read_headers(L, 3, headers);
    add_origin(L, &o, headers);
    read_body(L, 4, &o);
    o.stream = lua_toboolean(L, 6);
    o.timeout_ms = (uint64_t)ceil(luaL_checknumber(L, 7) * 1000);
    o.follow = redirects >= 0;
    o.redirects = redirects > 0 ? (unsigned)redirects : 0;
    o.max_size = read_limit(L, 9);
    return start(L, &o);
}

/* --- what came --- */

static int failure(lua_State *L, const struct lua_fetch *t)
{
    if (!t->fetch)
        return refuse(L, "CLOSED", "the response was closed");
    return refuse(L, fetch_code(t->fetch), fetch_message(t->fetch));
}

/* Header `h` into the table on top: a text, or a list of those that have the same name. */
static void push_header(lua_State *L, const struct fetch_header *h)
{
    lua_pushlstring(L, h->name.at, h->name.len);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3); /* headers name old */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, h->value.at, h->value.len);
        lua_rawset(L, -3); /* headers */
        return;
    }
    if (!lua_istable(L, -1)) {
        lua_createtable(L, 2, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5); /* headers name list */
    }
    lua_pushlstring(L, h->value.at, h->value.len);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 2);
}

static void push_url(lua_State *L, const struct fetch *fetch)
{
    char *url = fetch_url(fetch);
    const bool enforced = vm_relax(vm_of(L)); /* `url` would leak */

    lua_pushstring(L, url);
    vm_restore(vm_of(L), enforced);
    free(url);
}

/* head(fetch) -> status, headers, url, or nil, message, code */
static int head(lua_State *L)
{
    const struct lua_fetch *t = check(L);
    struct fetch_header h;

    if (!t->fetch || (fetch_is_done(t->fetch) && !fetch_has_head(t->fetch)))
        return failure(L, t);
    lua_pushinteger(L, (lua_Integer)fetch_status(t->fetch));
    lua_createtable(L, 0, 8);
    for (size_t at = 0; fetch_next_header(t->fetch, &at, &h);)
        push_header(L, &h);
    push_url(L, t->fetch);
    return 3;
}

/* take(fetch) -> what was received since, "" at the end, or nil, message, code */
static int take(lua_State *L)
{
    const struct lua_fetch *t = check(L);
    struct str bytes = {NULL, 0};

    if (t->fetch)
        bytes = fetch_received(t->fetch);
    if (!t->fetch || (bytes.len == 0 && fetch_code(t->fetch)))
        return failure(L, t);
    lua_pushlstring(L, bytes.at, bytes.len);
    fetch_consume(t->fetch);
    return 1;
}

/* failed(fetch) -> message, code; nothing if it has not */
static int failed(lua_State *L)
{
    const struct lua_fetch *t = check(L);

    if (t->fetch && !fetch_code(t->fetch))
        return 0;
    failure(L, t);
    return 2;
}

/* --- what goes --- */

/* send(fetch, bytes) -> whether more is wanted; nil as bytes ends the body */
static int send(lua_State *L)
{
    const struct lua_fetch *t = check(L);
    struct str bytes;
    bool more = false;

    if (t->fetch && lua_isnil(L, 2)) {
        more = fetch_send_end(t->fetch);
    } else if (t->fetch) {
        bytes.at = luaL_checklstring(L, 2, &bytes.len);
        more = bytes.len > 0 ? fetch_send(t->fetch, bytes) : !fetch_is_done(t->fetch);
    }
    lua_pushboolean(L, more);
    return 1;
}

/* close(fetch) */
static int close_now(lua_State *L)
{
    struct lua_fetch *t = check(L);

    if (t->task)
        return luaL_error(L, "another task waits for this response");
    close_fetch(t);
    return 0;
}

/* size("10mb") -> bytes or nil */
static int parse_size(lua_State *L)
{
    struct str text;
    size_t bytes;

    text.at = luaL_checklstring(L, 1, &text.len);
    if (size_parse(text, &bytes))
        lua_pushnumber(L, (lua_Number)bytes);
    else
        lua_pushnil(L);
    return 1;
}

static const luaL_Reg functions[] = {
    {"open", open}, {"wait", wait_for},   {"head", head},       {"take", take}, {"failed", failed},
    {"send", send}, {"close", close_now}, {"size", parse_size}, {NULL, NULL},
};

int bind_fetch_open(lua_State *L)
{
    struct meter *meter;
    struct err err;

    if (!fetch_load(&err))
        return luaL_error(L, "%s", err.message);
    luaL_newmetatable(L, TYPE);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "fetch");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    meter = lua_newuserdata(L, sizeof(*meter));
    *meter = (struct meter){.bytes = {.most = RECEIVED_MAX}};
    lua_setfield(L, LUA_REGISTRYINDEX, METER);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
