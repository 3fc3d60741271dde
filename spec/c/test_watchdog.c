/* The watchdog: every shape of endless loop ends with one error that says where it was, and the
 * VM and those around it go on.
 */
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"
#include "vm/watchdog.h"

#include "check.h"

/* A sanitized build beside other tests is late, not wrong. */
enum { LIMIT_MS = 300, LAG_MS = 40, PATIENCE_MS = 2000, MARK = 7 };

static struct watchdog *watchdog;
static struct watch_record record;

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct vm *open_vm(void)
{
    const struct vm_options options = {.name = "loop",
                                       .root = "spec",
                                       .memory_limit = (size_t)64 << 20,
                                       .watchdog = watchdog,
                                       .mark = MARK};
    struct err err;
    struct vm *vm = vm_new(&options, &err);

    if (!vm)
        fprintf(stderr, "%s\n", err.message);
    CHECK(vm);
    return vm;
}

/* --- running a chunk as a task --- */

struct outcome {
    bool done, ok;
    struct err err;
    char value[256];
};

static void done(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct outcome *outcome = arg;
    const char *value = lua_tostring(task_state(task), -1);

    outcome->done = true;
    outcome->ok = ok;
    if (ok && value)
        snprintf(outcome->value, sizeof(outcome->value), "%s", value);
    if (!ok)
        outcome->err = *err;
}

static void run(struct vm *vm, const char *code, struct outcome *outcome)
{
    struct err err;
    struct task *task = task_new(vm, &err);

    CHECK(task);
    memset(outcome, 0, sizeof(*outcome));
    if (luaL_loadbuffer(task_state(task), code, strlen(code), "@spec/loop.lua") != 0) {
        fprintf(stderr, "%s: %s\n", code, lua_tostring(task_state(task), -1));
        exit(1);
    }
    task_set_request_id(task, "request-1");
    task_set_phase(task, "request");
    task_start(task, 0, done, outcome);
}

/* --- loops --- */

/* clang-format off */
static const char *const loops[] = {
    "while true do end",
    "local i=0 while true do i=i+1 end",
    "local function f(x) return x+1 end local i=0 while true do i=f(i) end",
    "local G = {f = function(x) return x+1 end} local i=0 while true do i=G.f(i) end",
    "local i=0 while true do i=math.floor(i+1.5) end",
    "local s while true do s=tostring(math.random())..'x' end",
    "while true do local t={1,2,3} t.x=t end",
    "local x=0 for i=1,1e15 do x=x+i end",
    "::a:: goto a",
    "local function f() return f() end f()",
    "while true do os.clock() end",
    "while true do pcall(function() while true do end end) end",
    "while true do coroutine.wrap(function() for i=1,10 do coroutine.yield(i) end end)() end",
    "coroutine.wrap(function() local i=0 while true do i=i+1 end end)()",
    "local s=('a'):rep(28) string.find(s, ('a-'):rep(28)..'b')",
    "for i=1,1e9 do local s=('x'):rep(1e7) end",
    "while true do for i=1,100 do for j=1,100 do local x=i*j end end end",
    "string.gsub('a','a',function() while true do end end)",
    "table.sort({3,1,2},function(a,b) while true do end end)",
    "local t=setmetatable({},{__index=function(t,k) while true do end end}) local x=t.a",
    "local function f(n) local x=0 for i=1,n do x=x+i end return x end for k=1,100 do f(1000) end f(1e15)",
    "xpcall(function() error('x') end, function() while true do end end)",
    "local function r(n) if n==0 then while true do end end return 1+r(n-1) end r(150)",
    "local a,b function a(x) return b(x+1) end function b(x) return a(x+1) end a(1)",
    "local function f(...) local s=0 while true do s=s+select('#',...) end end f(1,2,3)",
    "local s=('x'):rep(1000) local i,c=1,0 while true do c=c+s:byte(i) i=i%1000+1 end",
    "local t={} for i=1,100 do t[i]=i end while true do for i=1,100 do t[i]=t[i]+1 end end",
    "local t={a=1,b=2} while true do for k,v in pairs(t) do t[k]=v+1 end end",
    "local t={1,2,3} while true do for i,v in ipairs(t) do t[i]=v+1 end end",
    "while true do local x=1 local f=function() return x end f() end",
    "while true do local s=string.format('%d-%s',5,'x') end",
    "local b=require'bit' local x=1 while true do x=b.bxor(b.lshift(x,1),x) end",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "local ffi=require'ffi' local a=ffi.new('int[10]') while true do a[0]=a[0]+1 end",
    "local i=0 repeat i=i+1 if i%2==0 then i=i+1 elseif i%3==0 then i=i+2 end until false",
    "while true do string.find('hello world','o w',1,true) end",
    "local s=('a'):rep(1e5) while true do s:find('a*b') end",
    /* what tries to get away */
    "xpcall(function() while true do end end, function() while true do end end)",
    "while true do xpcall(function() while true do end end, function(e) error(e) end) end",
    "local function f() local ok = pcall(f) while true do end end f()",
    "return pcall(function() while true do end end)",
    "return xpcall(function() while true do end end, function() return 1 end)",
    "return select(2, coroutine.resume(coroutine.create(function() while true do end end)))",
    "local t=setmetatable({},{__tostring=function() while true do end end}) error(t)",
    "local s=('a'):rep(1e6) s:match('.-b')",
    "local s=('a'):rep(1e6) for _ in s:gmatch('a-b') do end",
    "local s=('a'):rep(1e6) s:gsub('a*b', '')",
    "local s=('a'):rep(2e6) while true do s:find(('a'):rep(1e6)..'b', 1, true) end",
    "load(function() while true do end end)",
    "table.concat(setmetatable({}, {__len=1}), '') local x = {} while next(x) == nil do end",
};
/* clang-format on */

static void still_works(struct vm *vm, const char *code)
{
    struct outcome outcome;

    run(vm, "local n = 0 for i = 1, 10 do n = n + i end return n", &outcome);
    if (!outcome.ok)
        fprintf(stderr, "after %s: %s\n", code, outcome.err.message);
    CHECK(outcome.done && outcome.ok);
    CHECK_STR(outcome.value, "55");
}

static void test_loop(const char *code)
{
    struct vm *vm = open_vm();
    const double began = now_ms();
    struct outcome outcome;
    double took;

    run(vm, code, &outcome);
    took = now_ms() - began;
    if (!outcome.done || outcome.ok || strcmp(outcome.err.code, "HANDLER_TIMEOUT") != 0)
        fprintf(stderr, "%s: %s %s after %.0f ms\n", code, outcome.err.code, outcome.err.message,
                took);
    CHECK(outcome.done && !outcome.ok);
    CHECK_STR(outcome.err.code, "HANDLER_TIMEOUT");
    CHECK(strstr(outcome.err.message, "without waiting"));
    CHECK(strstr(outcome.err.traceback, "spec/loop.lua:1"));
    CHECK_STR(outcome.err.file, "spec/loop.lua");
    if (took < LIMIT_MS - 1 || took > LIMIT_MS + PATIENCE_MS)
        fprintf(stderr, "%s: %.0f ms\n", code, took);
    CHECK(took >= LIMIT_MS - 1 && took <= LIMIT_MS + PATIENCE_MS);
    still_works(vm, code);
    vm_close(vm);
}

/* --- the trace is of the coroutine that ran --- */

static void test_inner_trace(void)
{
    static const char code[] = "local function spin()\n while true do end\nend\n"
                               "local co = coroutine.wrap(function() spin() end)\nco()";
    struct vm *vm = open_vm();
    struct outcome outcome;

    run(vm, code, &outcome);
    CHECK(outcome.err.line == 2);
    CHECK(strstr(outcome.err.traceback, "in function 'spin'"));
    CHECK(strstr(outcome.err.traceback, "called from"));
    CHECK(strstr(outcome.err.traceback, "loop.lua:5"));
    vm_close(vm);
}

/* --- a VM inside another --- */

static struct vm *inner_vm;
static struct outcome inner;

static int call_inner(lua_State *L)
{
    run(inner_vm, lua_tostring(L, 1), &inner);
    if (!inner.ok)
        return luaL_error(L, "inner: %s", inner.err.code);
    lua_pushstring(L, inner.value);
    return 1;
}

static struct vm *open_outer(void)
{
    struct vm *vm = open_vm();

    lua_pushcfunction(vm_main(vm), call_inner);
    lua_pushliteral(vm_main(vm), "inner");
    lua_insert(vm_main(vm), -2);
    lua_rawset(vm_main(vm), LUA_GLOBALSINDEX);
    return vm;
}

/* The innermost VM is ended; who called it sees a call that failed. */
static void test_nested(void)
{
    struct vm *vm = open_outer();
    struct outcome outcome;

    inner_vm = open_vm();
    run(vm, "return select(2, pcall(inner, 'while true do end'))", &outcome);
    CHECK(outcome.ok);
    CHECK(strstr(outcome.value, "inner: HANDLER_TIMEOUT"));
    CHECK(strstr(inner.err.message, "it computed longer"));
    still_works(inner_vm, "nested");
    still_works(vm, "nested");
    vm_close(inner_vm);
    vm_close(vm);
}

/* The hour may strike inside the callee: then its caller has an error that says so. */
static bool was_ended(const struct err *err)
{
    return strcmp(err->code, "HANDLER_TIMEOUT") == 0 ||
           strstr(err->message, "inner: HANDLER_TIMEOUT") != NULL;
}

/* Calls that are short do not make the caller's own loop immortal. */
static void test_calling_loop(const char *code)
{
    const double began = now_ms();
    struct vm *vm = open_outer();
    struct outcome outcome;

    inner_vm = open_vm();
    run(vm, code, &outcome);
    CHECK(!outcome.ok);
    CHECK(was_ended(&outcome.err));
    CHECK(now_ms() - began < LIMIT_MS * 1.25 + PATIENCE_MS);
    still_works(inner_vm, code);
    still_works(vm, code);
    vm_close(inner_vm);
    vm_close(vm);
}

/* --- what is not ended --- */

/* Many entries, none long, and one that is nearly so. */
static void test_innocent(void)
{
    struct vm *vm = open_vm();
    const double began = now_ms();
    struct outcome outcome;

    while (now_ms() - began < LIMIT_MS * 2) {
        run(vm, "local x = 0 for i = 1, 1e4 do x = x + i end return x", &outcome);
        CHECK(outcome.ok);
    }
    run(vm, "local t = os.clock() while os.clock() - t < 0.05 do end return 'ok'", &outcome);
    CHECK_STR(outcome.value, "ok");
    vm_close(vm);
}

static void test_vm_call(void)
{
    struct vm *vm = open_vm();
    lua_State *L = vm_main(vm);
    struct err err;

    luaL_loadstring(L, "while true do pcall(error) end");
    CHECK(!vm_call(L, 0, 0, &err));
    CHECK_STR(err.code, "HANDLER_TIMEOUT");
    CHECK(*err.traceback && lua_gettop(L) == 0);
    luaL_loadstring(L, "return 1");
    CHECK(vm_call(L, 0, 1, &err));
    vm_close(vm);
}

/* --- the record --- */

static uint64_t steps_inside;

static int look(lua_State *L)
{
    steps_inside = record.steps;
    CHECK(record.depth == 1 && record.mark == MARK);
    CHECK_STR(record.request_id, "request-1");
    CHECK_STR(record.phase, "request");
    task_set_phase(task_current(L), "onInit");
    CHECK_STR(record.phase, "onInit");
    return 0;
}

static void test_record(void)
{
    struct vm *vm = open_vm();
    struct outcome outcome;

    lua_register(vm_main(vm), "print", look);
    CHECK(record.depth == 0);
    run(vm, "print()", &outcome);
    CHECK(outcome.ok);
    CHECK(record.depth == 0 && record.steps > steps_inside);
    vm_close(vm);
}

/* --- what is long, but ends --- */

static struct lag lag;
static char lag_vm[32];
static unsigned lags;

static void lagged(void *arg, const struct lag *told)
{
    (void)arg;
    lag = *told;
    snprintf(lag_vm, sizeof(lag_vm), "%s", told->vm);
    lags++;
}

/* A wall clock for Lua: how busy the machine is must not count. */
static int lua_now(lua_State *L)
{
    lua_pushnumber(L, now_ms());
    return 1;
}

/* Work in C that no hook reaches. */
static int lua_block(lua_State *L)
{
    const double end = now_ms() + luaL_checknumber(L, 1);

    while (now_ms() < end)
        continue;
    return 0;
}

static void test_lag(void)
{
    struct vm *vm = open_vm();
    struct outcome outcome;

    lua_register(vm_main(vm), "now", lua_now);
    lags = 0;
    run(vm, "local e = now() + 5 while now() < e do end", &outcome);
    CHECK(outcome.ok && lags == 0);
    run(vm,
        "local function spin(ms)\n"
        "  local e = now() + ms\n"
        "  while now() < e do end\n"
        "end\n"
        "pcall(coroutine.wrap(function()\n"
        "  spin(150)\n"
        "end))",
        &outcome);
    CHECK(outcome.ok && lags == 1);
    CHECK_STR(lag_vm, "loop");
    CHECK_STR(lag.file, "spec/loop.lua");
    CHECK(lag.line == 2 || lag.line == 3);
    CHECK(lag.ms >= 100);
    CHECK_STR(lag.request_id, "request-1");
    CHECK_STR(lag.phase, "request");
    run(vm, "local n = 0 for i = 1, 100 do n = n + i end", &outcome); /* the hook is gone */
    CHECK(outcome.ok && lags == 1);
    vm_close(vm);
}

/* The line that called it. */
static void test_lag_inside_c(void)
{
    struct vm *vm = open_vm();
    struct outcome outcome;

    lua_register(vm_main(vm), "block", lua_block);
    lags = 0;
    run(vm, "local x = 1\nblock(150)\nx = 2", &outcome);
    CHECK(outcome.ok && lags == 1);
    CHECK_STR(lag.file, "spec/loop.lua");
    CHECK(lag.line == 2 || lag.line == 3);
    vm_close(vm);
}

int main(int argc, char **argv)
{
    const struct watchdog_options options = {
        .limit_ms = LIMIT_MS, .lag_ms = LAG_MS, .record = &record, .lagged = lagged};
    struct err err;

    watchdog = watchdog_new(&options, &err);
    CHECK(watchdog);
    if (argc > 1) {
        test_loop(argv[1]);
        return 0;
    }
    test_record();
    test_lag();
    test_lag_inside_c();
    test_innocent();
    for (size_t i = 0; i < LEN(loops); i++)
        test_loop(loops[i]);
    test_inner_trace();
    test_nested();
    test_calling_loop("while true do inner('return 1') end");
    test_calling_loop("while true do pcall(inner, 'return 1') end");
    test_calling_loop("while true do pcall(inner, 'while true do end') end");
    test_vm_call();
    watchdog_free(watchdog);
    return 0;
}
