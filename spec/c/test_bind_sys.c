/* The system modules as plugin code sees them: each case is a task in a VM of its own, on a real
 * loop.
 */
#include <fcntl.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "bind/bind.h"
#include "ev/loop.h"
#include "vm/task.h"
#include "vm/vm.h"

#include "check.h"

enum { PATIENCE_MS = 5000 };

static struct loop *loop;
static char reported[4096]; /* what vm_report() was told, one message a line */

/* `want` is what the chunk returns, or "!" and its error; `report` is what nobody waited for. */
static const struct test {
    const char *title, *code, *want, *report;
} tests[] = {
    {"sleep waits", "local t = sys.now() buntime.sleep(0.02) return sys.now() - t >= 0.019", "true",
     ""},
    {"sleep of nothing", "buntime.sleep(0) return 'ok'", "ok", ""},
    {"sleep refuses", "buntime.sleep(-1)",
     "!buntime.sleep: seconds must be a number that is not negative, got -1", ""},
    {"sleep refuses NaN", "buntime.sleep(0/0)",
     "!buntime.sleep: seconds must be a number that is not negative, got nan", ""},
    {"sleep refuses text", "buntime.sleep('1')",
     "!buntime.sleep: seconds must be a number that is not negative, got 1", ""},
    {"sleep in a coroutine of the plugin's own",
     "return coroutine.wrap(function() buntime.sleep(0.001) return 'ok' end)()", "ok", ""},
    /* timers */
    {"after fires once",
     "local n = 0 timer.after(0.001, function() n = n + 1 end) buntime.sleep(0.02) return n", "1",
     ""},
    {"after fires although its value is gone",
     "local n = 0 timer.after(0.005, function() n = n + 1 end) collectgarbage() collectgarbage() "
     "buntime.sleep(0.02) return n",
     "1", ""},
    {"stop",
     "local n = 0 local t = timer.after(0.001, function() n = n + 1 end) local a = t:stop() "
     "buntime.sleep(0.01) return n .. tostring(a) .. tostring(t:stop())",
     "0truefalse", ""},
    {"every fires until it is stopped",
     "local n, t = 0 t = timer.every(0.001, function() n = n + 1 if n == 3 then t:stop() end end) "
     "buntime.sleep(0.05) return n",
     "3", ""},
    {"every leaves out runs while one waits",
     "local n, most, t = 0, 0 t = timer.every(0.002, function() n = n + 1 most = math.max(most, n) "
     "buntime.sleep(0.01) n = n - 1 end) buntime.sleep(0.05) t:stop() buntime.sleep(0.02) "
     "return most .. n",
     "10", ""},
    {"an error in a timer is reported, and the next run comes",
     "local n, t = 0 t = timer.every(0.001, function() n = n + 1 if n == 2 then t:stop() end "
     "error('oh ' .. n, 0) end) buntime.sleep(0.03) return n",
     "2", "oh 1\noh 2\n"},
    {"every refuses 0", "return (select(2, pcall(timer.every, 0, print)))",
     "bad argument #1 to '?' (the period must be more than 0 seconds)", ""},
    {"after refuses what is no function", "return (select(2, pcall(timer.after, 0, 'x')))",
     "bad argument #2 to '?' (function expected, got string)", ""},
    /* tasks */
    {"results",
     "return table.concat({ task.spawn(function(a, b) return b, a end, 1, 2):wait() }, ' ')", "2 1",
     ""},
    {"nil among results", "return select('#', task.spawn(function() return nil, nil end):wait())",
     "2", ""},
    {"waits, and may be asked again",
     "local t = task.spawn(function() buntime.sleep(0.005) return 'x' end) return t:wait() .. "
     "t:wait()",
     "xx", ""},
    {"an error is raised where it is waited for",
     "local t = task.spawn(function() buntime.sleep(0.001) error('oh', 0) end) "
     "return (select(2, pcall(t.wait, t)))",
     "oh", ""},
    {"a table error stays one",
     "local t = task.spawn(function() error({ code = 'X' }) end) return select(2, pcall(t.wait, "
     "t)).code",
     "X", ""},
    {"an error that nobody waits for",
     "task.spawn(function() error('lost', 0) end) buntime.sleep(0.01)", "", "lost\n"},
    {"several wait for one",
     "local t = task.spawn(function() buntime.sleep(0.005) return 1 end) local n, all = 0, {} "
     "for i = 1, 3 do all[i] = task.spawn(function() local v = t:wait() n = n + v end) end "
     "task.gather(unpack(all)) return n",
     "3", ""},
    {"a long chain",
     "local t = task.spawn(function() buntime.sleep(0.001) return 0 end) for i = 1, 500 do local "
     "before = "
     "t t = task.spawn(function() return before:wait() + 1 end) end return t:wait()",
     "500", ""},
    {"cancel runs the cleanup",
     "local trace = '' local t = task.spawn(function() local ok, why = pcall(buntime.sleep, 10) "
     "trace = why "
     "error(why, 0) end) local a = t:cancel() local _, why = pcall(t.wait, t) "
     "return trace .. '|' .. why .. '|' .. tostring(a) .. tostring(t:cancel())",
     "the task was cancelled|the task was cancelled|truefalse", ""},
    {"cancelled and nobody waits", "task.spawn(buntime.sleep, 10):cancel() buntime.sleep(0.005)",
     "", ""},
    {"cancel one that waits for another",
     "local a = task.spawn(buntime.sleep, 0.02) local b = task.spawn(function() a:wait() end) "
     "b:cancel() "
     "a:wait() return (select(2, pcall(b.wait, b)))",
     "the task was cancelled", ""},
    {"a task cannot wait for itself",
     "local t t = task.spawn(function() buntime.sleep(0) t:wait() end) local _, why = "
     "pcall(t.wait, t) "
     "return (why:match('%((.*)%)'))",
     "a task cannot wait for itself", ""},
    {"gather keeps the order",
     "local function f(s, v) buntime.sleep(s) return v end return table.concat({ task.gather("
     "task.spawn(f, 0.01, 'a'), task.spawn(f, 0.001, 'b'), task.spawn(f, 0, 'c')) }, '')",
     "abc", ""},
    {"gather raises the first error",
     "local function f(s, v) buntime.sleep(s) error(v, 0) end local a, b = task.spawn(f, 0.02, "
     "'late'), "
     "task.spawn(f, 0.001, 'early') local ok, why = pcall(task.gather, a, b) buntime.sleep(0.03) "
     "return why",
     "early", ""},
    {"gather refuses", "return (select(2, pcall(task.gather, 1)))",
     "task.gather: argument 1 must be a task, got number", ""},
    {"race cancels who lost",
     "local lost local function slow() local ok = pcall(buntime.sleep, 5) lost = not ok error('x') "
     "end "
     "local v = task.race(task.spawn(slow), task.spawn(function() buntime.sleep(0.001) return "
     "'won' end)) "
     "return v .. tostring(lost)",
     "wontrue", ""},
    {"race raises the error of the first",
     "return (select(2, pcall(task.race, task.spawn(buntime.sleep, 5), task.spawn(function() "
     "buntime.sleep(0.001) error('bad', 0) end))))",
     "bad", ""},
    {"spawn refuses", "return (select(2, pcall(task.spawn, 5)))",
     "bad argument #1 to '?' (function expected, got number)", ""},
    {"garbage meanwhile",
     "for i = 1, 200 do task.spawn(function() buntime.sleep(0.001 * (i % 7)) return {} end) "
     "timer.after(0.001, function() end) end for i = 1, 20 do buntime.sleep(0.001) "
     "collectgarbage() end "
     "return 'ok'",
     "ok", ""},
    /* the rest */
    {"env is read",
     "return tostring(buntime.env.BUNTIME_TEST) .. tostring(buntime.env.BUNTIME_EMPTY)", "valuenil",
     ""},
    {"env is read-only", "buntime.env.X = 1", "!buntime.env is read-only", ""},
    {"version", "return buntime.version:match('^%d+%.%d+%.%d+$') and 'ok'", "ok", ""},
    {"clocks", "return math.abs(sys.wall() - os.time()) < 2 and sys.now() <= sys.now()", "true",
     ""},
    {"uuid v4",
     "return uuid.v4():match('^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-' .. "
     "('%x'):rep(12) .. '$') and uuid.v4() ~= uuid.v4()",
     "true", ""},
    {"uuid v7 sorts",
     "local last = '' for i = 1, 3000 do local id = uuid.v7() assert(id > last) last = id "
     "end return last:sub(15, 15)",
     "7", ""},
    {"url encode", "return url.encode('a b/\\195\\169?&=+%-._~\\0')",
     "a%20b%2F%C3%A9%3F%26%3D%2B%25-._~%00", ""},
    {"url decode", "return url.decode('a%20b+%2f%zz%4') .. url.decode('a+b', true)",
     "a b+/%zz%4a b", ""},
    {"url pairs",
     "local out = {} for _, p in ipairs(url.pairs('a=1&&b=x+y%26&a=2&c&=d')) do out[#out + 1] = "
     "p[1] .. ':' "
     ".. p[2] end return table.concat(out, ' ')",
     "a:1 b:x y& a:2 c: :d", ""},
    {"url query",
     "return url.query({ b = 'x y', a = { 1, true } }) .. ' ' .. url.query({ { 'z', 1 }, { 'a', "
     "'&' } })",
     "a=1&a=true&b=x%20y z=1&a=%26", ""},
};

static int open_modules(lua_State *L)
{
    static const luaL_Reg modules[] = {
        {"buntime.core.json", bind_json_open},
        {"buntime.core.sys", bind_sys_open},
        {"buntime.core.task", bind_task_open},
        {"buntime.core.timer", bind_timer_open},
        {NULL, NULL},
    };

    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (const luaL_Reg *module = modules; module->name; module++) {
        lua_pushcfunction(L, module->func);
        lua_setfield(L, -2, module->name);
    }
    lua_pop(L, 2);
    return 0;
}

static void report(struct vm *vm, const struct err *err)
{
    (void)vm;
    strncat(reported, err->message, sizeof(reported) - strlen(reported) - 2);
    strcat(reported, "\n");
}

static struct vm *open_vm(void)
{
    struct vm_options options = {
        .name = "tester", .loop = loop, .open = open_modules, .report = report};
    struct err err;
    struct vm *vm = vm_new(&options, &err);

    if (!vm) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    reported[0] = '\0';
    return vm;
}

struct answer {
    bool done, ok;
    char text[ERR_MESSAGE_MAX];
};

static void done(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct answer *answer = arg;
    lua_State *L = task_state(task);
    const char *text = err ? err->message : "";

    if (ok && lua_isboolean(L, 1))
        text = lua_toboolean(L, 1) ? "true" : "false";
    else if (ok && lua_gettop(L) > 0)
        text = lua_tostring(L, 1);
    snprintf(answer->text, sizeof(answer->text), "%s", text ? text : "(no text)");
    answer->ok = ok;
    answer->done = true;
}

static void start(struct vm *vm, const char *code, struct answer *answer)
{
    static const char head[] =
        "local sys, timer, task = require('buntime.core.sys'), require('buntime.timer'), "
        "require('buntime.task') local uuid, url, log, json = require('buntime.uuid'), "
        "require('buntime.url'), require('buntime.log'), require('buntime.json') local buntime = "
        "require('buntime') ";
    struct err err;
    struct task *task = task_new(vm, &err);
    char chunk[4096];

    CHECK(task != NULL);
    snprintf(chunk, sizeof(chunk), "%s%s", head, code);
    if (luaL_loadbuffer(task_state(task), chunk, strlen(chunk), "=test") != 0) {
        fprintf(stderr, "%s\n", lua_tostring(task_state(task), -1));
        exit(1);
    }
    task_set_request_id(task, "request-1");
    task_start(task, 0, done, answer);
}

static void turn_until(const bool *flag)
{
    const uint64_t end = clock_now_ns() / 1000000 + PATIENCE_MS;

    while (!*flag && clock_now_ns() / 1000000 < end)
        loop_turn(loop, 50);
    CHECK(*flag);
}

/* "test:1: message" → "message" */
static const char *without_place(const char *text)
{
    return strncmp(text, "test:1: ", 8) == 0 ? text + 8 : text;
}

static void run_test(const struct test *test)
{
    struct vm *vm = open_vm();
    struct answer answer = {.done = false};
    const bool wanted = *test->want != '!';

    start(vm, test->code, &answer);
    turn_until(&answer.done);
    if (answer.ok != wanted || strcmp(without_place(answer.text), test->want + !wanted) != 0 ||
        strcmp(reported, test->report) != 0) {
        fprintf(stderr, "%s: %s \"%s\", reported \"%s\"\n", test->title,
                answer.ok ? "got" : "raised", answer.text, reported);
        exit(1);
    }
    for (int i = 0; i < 100 && (tasks_open(vm) || ledger_count(vm)); i++)
        loop_turn(loop, 1);
    CHECK(tasks_open(vm) == 0);
    CHECK(ledger_count(vm) == 0);
    vm_close(vm);
}

/* A VM that goes while everything is under way: nothing of it fires later, nothing leaks (ASan). */
static void test_close(void)
{
    struct vm *vm = open_vm();
    struct answer answer = {.done = false};

    start(vm,
          "timer.after(0.001, function() error('fired') end) timer.every(0.001, function() "
          "buntime.sleep(1) "
          "end) local t = task.spawn(buntime.sleep, 1) task.spawn(function() t:wait() end) "
          "task.spawn(function() error('unseen') end) return 1",
          &answer);
    CHECK(answer.done && answer.ok);
    CHECK(ledger_count(vm) == 2);
    CHECK_STR(ledger_first(vm)->kind, "timer");
    CHECK_STR(ledger_first(vm)->label, "test:1");
    vm_close(vm);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 2);
    CHECK_STR(reported, "");
}

/* --- the log --- */

/* `want`: what the line has in it, separated by "|". */
static const struct {
    const char *code, *want;
} lines[] = {
    {"log.info('hello', { a = 1 })", "\"level\":\"info\"|\"msg\":\"hello\"|\"plugin\":\"tester\"|"
                                     "\"requestId\":\"request-1\"|\"a\":1"},
    {"log.warn('w', { bad = 0/0, good = 2 })", "\"level\":\"warn\"|\"bad\":\"nan\"|\"good\":2"},
    {"log.error('e', { f = print, t = { x = { 1/0 } } })",
     "\"f\":\"function: |\"t\":\"json.encode: x[1]: number is infinite\""},
    {"log.debug('d', { s = 'a\\255b', ['k\\255'] = true })",
     "\"level\":\"debug\"|\"s\":\"a\xef\xbf\xbd"
     "b\"|\"k\xef\xbf\xbd\":true"},
    {"log.info(setmetatable({}, { __tostring = function() return 'object' end }))",
     "\"msg\":\"object\""},
    {"log.info('u', { v = { 1, x = 1 }, w = newproxy() })",
     "\"v\":\"json.encode: mixed keys: the table has strings and numbers\"|\"w\":\"userdata: "},
    {"log.info('p', { v = setmetatable({ f = print }, { __tostring = error }) })",
     "\"v\":\"json.encode: f: cannot encode a function\""},
    {"log.info('loop', (function() local t = {} t.t = t t.n = 1 return t end)())",
     "\"n\":1|\"t\":\""},
    {"log.info('list', { 'a', 'b' })", "\"1\":\"a\"|\"2\":\"b\""},
    {"task.spawn(function() log.info('inner') end)",
     "\"requestId\":\"request-1\"|\"msg\":\"inner\""},
    {"local _, why = pcall(log.info, 'x', 5) log.info(why)",
     "log.info: argument 2 (fields) must be a table, got number"},
};

static void check_line(const char *line, const char *want)
{
    char part[256];

    while (*want) {
        const size_t len = strcspn(want, "|");

        snprintf(part, sizeof(part), "%.*s", (int)len, want);
        if (!strstr(line, part)) {
            fprintf(stderr, "no %s in: %s\n", part, line);
            exit(1);
        }
        want += len + (want[len] == '|');
    }
}

static void test_log(void)
{
    char path[] = "/tmp/test_bind_sys.XXXXXX";
    const int file = mkstemp(path), old = dup(STDERR_FILENO);

    CHECK(file >= 0 && old >= 0);
    log_setup(LOG_DEBUG, LOG_JSON);
    for (size_t i = 0; i < LEN(lines); i++) {
        struct vm *vm = open_vm();
        struct answer answer = {.done = false};
        char line[4096] = "";

        CHECK(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
        dup2(file, STDERR_FILENO);
        start(vm, lines[i].code, &answer);
        dup2(old, STDERR_FILENO);
        if (!answer.done || !answer.ok) {
            fprintf(stderr, "%s: %s\n", lines[i].code, answer.text);
            exit(1);
        }
        CHECK(pread(file, line, sizeof(line) - 1, 0) > 0);
        check_line(line, lines[i].want);
        vm_close(vm);
    }
    close(file);
    close(old);
    unlink(path);
}

int main(void)
{
    struct err err;

    setenv("BUNTIME_TEST", "value", 1);
    setenv("BUNTIME_EMPTY", "", 1);
    setenv("BUNTIME_LUA_DIR", "lua", 1);
    loop = loop_new(&err);
    CHECK(loop != NULL);
    for (size_t i = 0; i < LEN(tests); i++)
        run_test(&tests[i]);
    test_close();
    test_log();
    loop_free(loop);
    printf("ok %zu cases\n", LEN(tests) + LEN(lines));
    return 0;
}
