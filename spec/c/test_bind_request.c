#include "bind/bind.h"

#include <lauxlib.h>

#include "bind/url.h"
#include "http/exchange.h"
#include "vm/call.h"
#include "vm/vm.h"

#include "check.h"

static struct vm *vm;
static lua_State *L;

static void report(struct vm *of, const struct err *err)
{
    (void)of;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void open_vm(void)
{
    const struct vm_options options = {
        .name = "spec", .memory_limit = 64u << 20, .open = bind_open, .report = report};
    struct err err;

    vm = vm_new(&options, &err);
    CHECK(vm);
    L = vm_main(vm);
}

/* Runs `code` with the value at the top as its argument, which stays. "" or the error's message. */
static const char *run(const char *code)
{
    static struct err err;

    CHECK(luaL_loadbuffer(L, code, strlen(code), "=spec") == 0);
    lua_pushvalue(L, -2);
    if (vm_call(L, 1, 0, &err))
        return "";
    return err.message;
}

static struct exchange *new_exchange(const char *target, const char *body)
{
    static const struct header headers[] = {
        {{"x-keep", 6}, {"k", 1}},  {{"x-drop", 6}, {"d", 1}}, {{"x-twice", 7}, {"1", 1}},
        {{"x-twice", 7}, {"2", 1}}, {{"host", 4}, {"h", 1}},
    };
    const struct exchange_init init = {
        .method = STR("POST"),
        .target = str_of(target),
        .body = str_of(body),
        .headers = headers,
        .header_count = LEN(headers),
    };

    return exchange_new(&init, NULL);
}

static bool is(struct str s, const char *want)
{
    return s.len == strlen(want) && memcmp(s.at, want, s.len) == 0;
}

/* What a hook assigned is in the exchange after apply, and only then. */
static void test_apply(void)
{
    struct exchange *x = new_exchange("/old?a=1", "body");
    struct bind_request *request = bind_request_push(L, x, 0);

    CHECK_STR(run("local r = ... r.method = 'PUT' r.path = '/new/caf%C3%A9' r.query = 'b=2'"
                  " r.body = 'longer body' r.headers['x-drop'] = nil r:set_header('X-New', 5)"),
              "");
    CHECK(is(exchange_method(x), "POST") && is(exchange_path(x), "/old"));
    CHECK(is(exchange_query(x), "a=1") && is(exchange_body(x), "body"));
    CHECK(is(exchange_header(x, STR("x-drop")), "d"));

    CHECK_STR(run("require('buntime.core.request').apply(...)"), "");
    CHECK(is(exchange_method(x), "PUT") && is(exchange_path(x), "/new/caf%C3%A9"));
    CHECK(is(exchange_query(x), "b=2") && is(exchange_body(x), "longer body"));
    CHECK(!exchange_header(x, STR("x-drop")).at);
    CHECK(is(exchange_header(x, STR("x-keep")), "k"));
    CHECK(is(exchange_header(x, STR("x-new")), "5"));
    CHECK(is(exchange_header(x, STR("content-length")), "11"));
    CHECK(is(exchange_header(x, STR("x-twice")), "1")); /* untouched, still two */

    bind_request_close(request);
    lua_pop(L, 1);
    request = bind_request_push(L, x, 0);
    CHECK_STR(run("local r = ... assert(r.headers['x-twice'] == '1, 2' and r:query('b') == '2')"),
              "");
    bind_request_close(request);
    lua_pop(L, 1);
    exchange_free(x);
}

/* A value that would not do leaves all of it as it was. */
static void test_refused(void)
{
    struct exchange *x = new_exchange("/old?a=1", "body");
    struct bind_request *request = bind_request_push(L, x, 0);

    CHECK_STR(run("local r = ... r.method = 'PUT' r.body = 'x' r.headers = { a = 'b\\nc' }"), "");
    CHECK(strstr(run("require('buntime.core.request').apply(...)"), "control character"));
    CHECK(is(exchange_method(x), "POST") && is(exchange_body(x), "body"));
    CHECK(is(exchange_header(x, STR("x-drop")), "d"));
    bind_request_close(request);
    lua_pop(L, 1);
    exchange_free(x);
}

static const struct {
    const char *target;
    size_t strip;
    const char *path;
} bases[] = {
    {"/hello/api/x?a=1", 6, "/api/x"},
    {"/hello?a=1", 6, "/"},
    {"/hello/", 6, "/"},
    {"/x/y", 0, "/x/y"},
    {"/", 0, "/"},
};

/* The base is hidden from the path, and stays in front of a path that is assigned. */
static void test_strip(void)
{
    char code[128];

    for (size_t i = 0; i < LEN(bases); i++) {
        struct exchange *x = new_exchange(bases[i].target, NULL);
        struct bind_request *request = bind_request_push(L, x, bases[i].strip);

        snprintf(code, sizeof(code), "assert((...).path == '%s', (...).path)", bases[i].path);
        CHECK_STR(run(code), "");
        bind_request_close(request);
        lua_pop(L, 1);
        exchange_free(x);
    }
    struct exchange *x = new_exchange("/hello/a", NULL);
    struct bind_request *request = bind_request_push(L, x, 6);
    CHECK_STR(run("(...).path = '/b' require('buntime.core.request').apply(...)"), "");
    CHECK(is(exchange_path(x), "/hello/b"));
    bind_request_close(request);
    lua_pop(L, 1);
    exchange_free(x);
}

/* An object that outlives its request keeps what was read and raises for the rest, also when its
 * place is taken by the next request.
 */
static void test_closed(void)
{
    struct exchange *x = new_exchange("/first", "body");
    struct bind_request *request = bind_request_push(L, x, 0);

    CHECK_STR(run("assert((...).path == '/first')"), "");
    bind_request_close(request);
    exchange_free(x);
    for (int round = 0; round < 2; round++) {
        CHECK_STR(run("assert((...).path == '/first')"), "");
        CHECK(strstr(run("return (...).body"), "request is closed"));
        CHECK(strstr(run("return (...):header('x-keep')"), "request is closed"));
        CHECK(strstr(run("return (...):param('id')"), "request is closed"));
        CHECK(strstr(run("(...).path = '/x'"), "request is closed"));
        CHECK(strstr(run("require('buntime.core.request').apply(...)"), "request is closed"));
        CHECK(strstr(run("require('buntime.core.request').respond((...), { status = 200 })"),
                     "request is closed"));
        CHECK_STR(run("assert(tostring((...)) == 'request (closed)')"), "");
        if (round == 0) {
            x = new_exchange("/second", "other");
            request = bind_request_push(L, x, 0);
            CHECK_STR(run("assert((...).path == '/second')"), "");
            lua_pop(L, 1);
        }
    }
    bind_request_close(request);
    bind_request_close(NULL);
    exchange_free(x);
    lua_pop(L, 1);
}

/* Many at once, dropped by Lua while they are open, and none lost. */
static void test_many(void)
{
    enum { MANY = 500 };
    static struct bind_request *requests[MANY];
    struct exchange *x = new_exchange("/x", NULL);

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            requests[i] = bind_request_push(L, x, 0);
            CHECK_STR(run("assert((...).path == '/x')"), "");
            lua_pop(L, 1);
        }
        lua_gc(L, LUA_GCCOLLECT, 0);
        for (int i = 0; i < MANY; i++)
            bind_request_close(requests[i]);
    }
    exchange_free(x);
}

/* A request that was made in Lua goes with its last reference, whatever order things go in. */
static void test_memory_requests(void)
{
    lua_pushnil(L);
    CHECK_STR(
        run("local core, route = require('buntime.core.request'), require('buntime.core.route')\n"
            "local tree, kept = route.new(), {}\n"
            "route.add(tree, 'GET', '/:id{%d+}/*', 7)\n"
            "for i = 1, 2000 do\n"
            "  local r = core.new('GET', '/12/a%20b', nil, {})\n"
            "  assert(route.find(tree, r) == 7)\n"
            "  assert(r:param('id') == '12' and r:param('*') == 'a b')\n"
            "  kept[i % 100] = r\n"
            "  if i % 500 == 0 then tree = route.new()\n"
            "    route.add(tree, 'GET', '/:id{%d+}/*', 7) collectgarbage() end\n"
            "end"),
        "");
    lua_pop(L, 1);
}

/* Parameters of a path that was assigned: the text is Lua's, and may go. */
static void test_assigned_params(void)
{
    struct exchange *x = new_exchange("/x", NULL);
    struct bind_request *request = bind_request_push(L, x, 0);

    CHECK_STR(run("local r, route = ..., require('buntime.core.route')\n"
                  "local tree = route.new()\n"
                  "route.add(tree, '', '/users/:id', 1)\n"
                  "r.path = '/users/' .. ('y'):rep(300)\n"
                  "assert(route.find(tree, r) == 1)\n"
                  "r.path = '/other' collectgarbage() collectgarbage()\n"
                  "for i = 1, 100 do local _ = ('z'):rep(300 + i) end\n"
                  "assert(r:param('id') == ('y'):rep(300))"),
              "");
    bind_request_close(request);
    lua_pop(L, 1);
    exchange_free(x);
}

static const struct {
    const char *text;
    bool climbs;
} climbing[] = {
    {"..", true},   {"a/..", true},  {"../a", true}, {"a\\..\\b", true}, {"/../", true},
    {"...", false}, {"a..b", false}, {"", false},    {"..a/b..", false},
};

static void test_url(void)
{
    struct str rest = STR("&&a=1&b&=c&d==e&"), name, value;
    static const char *const pairs[] = {"a", "1", "b", "", "", "c", "d", "=e"};

    for (size_t i = 0; i < LEN(climbing); i++)
        CHECK(url_climbs(str_of(climbing[i].text)) == climbing[i].climbs);
    CHECK(url_climbs((struct str){"a\0b", 3}));
    for (size_t i = 0; i < LEN(pairs); i += 2) {
        CHECK(url_next_pair(&rest, &name, &value));
        CHECK(is(name, pairs[i]) && is(value, pairs[i + 1]));
    }
    CHECK(!url_next_pair(&rest, &name, &value));
}

int main(void)
{
    open_vm();
    test_apply();
    test_refused();
    test_strip();
    test_closed();
    test_many();
    test_memory_requests();
    test_assigned_params();
    test_url();
    CHECK(lua_gettop(L) == 0);
    vm_close(vm);
    printf("ok\n");
    return 0;
}
