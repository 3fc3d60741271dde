/* buntime.cron as plugin code sees it, with clocks that the test moves: months in a moment, and a
 * plugin that is replaced at the very second.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "bind/bind.h"
#include "bind/cron.h"
#include "data/cron_book.h"
#include "data/cron_lock.h"
#include "data/redis.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

#include "check.h"

/* --- the clocks: in place of libc's, for the runtime as well --- */

static int64_t passed_ns, wall_ns; /* both clocks; the wall clock alone */

int clock_gettime(clockid_t id, struct timespec *out)
{
    const long rc = syscall(SYS_clock_gettime, id, out);
    int64_t ns = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec;

    if (id == CLOCK_REALTIME)
        ns += passed_ns + wall_ns;
    else if (id == CLOCK_MONOTONIC)
        ns += passed_ns;
    out->tv_sec = ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
    return (int)rc;
}

static void pass_ms(int64_t ms)
{
    passed_ns += ms * 1000000;
}

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Sets the wall clock to `seconds` past some full hour. */
static void set_wall(double seconds)
{
    const double base = 1767225600;

    wall_ns += (int64_t)((base + seconds - now()) * 1e9);
}

/* --- instances --- */

static struct loop *loop;
static struct cron_book *book;
static struct plugins *plugins;
static char reported[1024];
static int total; /* runs that count() counted */

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 0);
}

/* Each test has a book of its own. */
static void open_plugins(double seconds)
{
    struct plugins_options options = {.loop = loop};

    set_wall(seconds);
    reported[0] = '\0';
    total = 0;
    options.cron = book = cron_book_new();
    plugins = plugins_new(&options);
}

static void close_plugins(void)
{
    turn();
    plugins_free(plugins);
    cron_book_free(book);
}

static void report(struct vm *vm, const struct err *err)
{
    const size_t len = strlen(reported);

    (void)vm;
    snprintf(reported + len, sizeof(reported) - len, "%.200s\n", err->message);
}

static void open_instance(struct instance *instance, enum instance_state state)
{
    struct vm_options options = {
        .name = "tester", .loop = loop, .host = instance, .open = bind_open, .report = report};
    struct err err;

    *instance = (struct instance){.plugins = plugins, .state = state};
    instance->vm = vm_new(&options, &err);
    if (!instance->vm) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

static void done(struct task *task, bool ok, const struct err *err, void *arg)
{
    (void)task, (void)arg;
    if (!ok) {
        fprintf(stderr, "%s\n", err->message);
        exit(1);
    }
}

static void run_lua(struct instance *instance, const char *code)
{
    static const char head[] = "local cron, buntime = require('buntime.cron'), require('buntime') ";
    struct err err;
    struct task *task = task_new(instance->vm, &err);
    char chunk[2048];

    snprintf(chunk, sizeof(chunk), "%s%s", head, code);
    CHECK(task && luaL_loadbuffer(task_state(task), chunk, strlen(chunk), "=test") == 0);
    task_start(task, 0, done, NULL);
}

static int get_global(lua_State *L, void *name)
{
    lua_getglobal(L, name);
    return 1;
}

static double number(struct instance *instance, const char *name)
{
    lua_State *L = vm_main(instance->vm);
    struct err err;
    double value;

    CHECK(vm_protect(L, get_global, (void *)name, 1, &err));
    value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

/* Lets time pass in steps. */
static void pass(int64_t ms, int64_t step)
{
    for (int64_t at = 0; at < ms; at += step) {
        pass_ms(step);
        turn();
    }
}

static struct cron_status status_of(struct instance *instance)
{
    struct cron_status status;

    CHECK(ledger_count(instance->vm) > 0);
    CHECK(cron_status(ledger_first(instance->vm), &status));
    return status;
}

/* --- one instance --- */

static struct instance one;

static void begin(double seconds, const char *code)
{
    open_plugins(seconds);
    open_instance(&one, INSTANCE_LIVE);
    run_lua(&one, code);
}

static void finish(void)
{
    vm_close(one.vm);
    close_plugins();
}

static void test_runs(void)
{
    begin(30, "rawset(_G, 'n', 0) cron.schedule('* * * * *', function() n = n + 1 end, { name = "
              "'tick', timezone = 'UTC' })");
    CHECK_STR(ledger_first(one.vm)->kind, "cron");
    CHECK_STR(ledger_first(one.vm)->label, "tick * * * * *");
    pass(29000, 1000);
    CHECK(number(&one, "n") == 0);
    pass(2000, 1000);
    CHECK(number(&one, "n") == 1);
    pass(600000, 1000);
    CHECK(number(&one, "n") == 11);
    CHECK(status_of(&one).runs == 11 && status_of(&one).has_run && !status_of(&one).running);
    CHECK(status_of(&one).next > now() && status_of(&one).next <= now() + 60);
    finish();
}

static void test_skips(void)
{
    begin(30,
          "rawset(_G, 'n', 0) cron.schedule('* * * * *', function() n = n + 1 buntime.sleep(90) "
          "end)");
    pass(31000, 1000);
    CHECK(number(&one, "n") == 1 && status_of(&one).running);
    pass(60000, 1000);
    CHECK(number(&one, "n") == 1 && status_of(&one).skipped == 1);
    pass(60000, 1000);
    CHECK(number(&one, "n") == 2 && status_of(&one).skipped == 1);
    CHECK(status_of(&one).seconds >= 90 && status_of(&one).seconds < 95);
    finish(); /* in the middle of a run */
    CHECK_STR(reported, "");
}

static void test_overlap(void)
{
    begin(30,
          "rawset(_G, 'n', 0) cron.schedule('* * * * *', function() n = n + 1 buntime.sleep(90) "
          "end, { overlap = true })");
    pass(31000 + 120000, 1000);
    CHECK(number(&one, "n") == 3 && status_of(&one).skipped == 0);
    finish();
}

static void test_errors(void)
{
    begin(30, "rawset(_G, 'n', 0) cron.schedule('* * * * *', function() n = n + 1 if n == 1 then "
              "error('oh', 0) end end)");
    pass(31000, 1000);
    CHECK_STR(reported, "oh\n");
    CHECK_STR(status_of(&one).error, "oh");
    CHECK(status_of(&one).failures == 1);
    pass(60000, 1000);
    CHECK(number(&one, "n") == 2);
    CHECK_STR(status_of(&one).error, "");
    CHECK_STR(reported, "oh\n");
    finish();
}

static void test_stops(void)
{
    begin(30,
          "rawset(_G, 'n', 0) local job job = cron.schedule('* * * * *', function() n = n + 1 if "
          "n == 2 then job:stop() buntime.sleep(1) end end)");
    pass(300000, 1000);
    CHECK(number(&one, "n") == 2);
    CHECK(ledger_count(one.vm) == 0);
    finish();
}

/* Somebody sets the clock: late times are made up for by one run, and nothing stands still. */
static void test_clock_set(void)
{
    begin(30, "rawset(_G, 'n', 0) cron.schedule('* * * * *', function() n = n + 1 end)");
    wall_ns += (int64_t)86400 * 1000000000;
    pass(61000, 1000);
    CHECK(number(&one, "n") == 1);
    wall_ns -= (int64_t)2 * 86400 * 1000000000;
    pass(61000, 1000);
    pass(120000, 1000);
    CHECK(number(&one, "n") >= 3 && number(&one, "n") <= 4);
    finish();
}

/* A clock that is adjusted by a little runs nothing twice. */
static void test_clock_adjusted(void)
{
    begin(30, "rawset(_G, 'n', 0) cron.schedule('* * * * *', function() n = n + 1 end)");
    pass(30500, 100);
    CHECK(number(&one, "n") == 1);
    wall_ns -= (int64_t)5 * 1000000000;
    pass(30000, 1000);
    CHECK(number(&one, "n") == 1);
    pass(60000, 1000);
    CHECK(number(&one, "n") == 2);
    finish();
}

static void test_jitter(void)
{
    bool late = false;

    for (int i = 0; i < 20; i++) {
        begin(30,
              "rawset(_G, 'n', 0) cron.schedule('0 * * * *', function() n = n + 1 end, { jitter = "
              "20 })");
        pass(3570000 - 1000, 30000);
        CHECK(number(&one, "n") == 0);
        pass(11000, 1000);
        late |= number(&one, "n") == 0;
        pass(11000, 1000);
        CHECK(number(&one, "n") == 1);
        pass(60000, 1000);
        CHECK(number(&one, "n") == 1);
        finish();
    }
    CHECK(late);
}

/* --- instances that follow each other --- */

static int count_run(lua_State *L)
{
    (void)L;
    total++;
    return 0;
}

static int set_counter(lua_State *L, void *arg)
{
    (void)arg;
    lua_pushcfunction(L, count_run);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_insert(L, -2);
    lua_pushliteral(L, "count");
    lua_insert(L, -2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 0;
}

static void open_counter(struct instance *instance, enum instance_state state, const char *options)
{
    char code[512];
    struct err err;

    open_instance(instance, state);
    CHECK(vm_protect(vm_main(instance->vm), set_counter, NULL, 0, &err));
    snprintf(code, sizeof(code), "cron.schedule('* * * * *', function() count() end, { %s })",
             options);
    run_lua(instance, code);
}

/* As a reload does: what has just come is live, the other stops. */
static void swap(struct instance *old, struct instance *fresh)
{
    old->state = INSTANCE_DRAINING;
    ledger_close(old->vm);
    instance_go_live(fresh);
}

static int64_t ms_of_minute(void)
{
    return (int64_t)(now() * 1000) % 60000;
}

/* A reload somewhere around the full minute, starting and ending at :30. */
static void swap_once(struct instance *old, struct instance *fresh, const char *options)
{
    const int64_t lead = rand() % 3000, built = rand() % 3000;

    pass(30000 - lead, 500);
    open_counter(fresh, INSTANCE_BUILDING, options);
    pass(built, built < 200 ? 7 : 250);
    if (rand() % 2 && ms_of_minute() > 30000)
        pass_ms(60000 - ms_of_minute()); /* the time has come, and the swap is first */
    swap(old, fresh);
    turn();
    vm_close(old->vm);
    while (ms_of_minute() < 30000 || ms_of_minute() > 57000)
        pass(500, 500);
}

/* Every minute is run once, whenever the reload comes. */
static void test_swaps(const char *options)
{
    struct instance instances[2];

    open_plugins(30);
    open_counter(&instances[0], INSTANCE_LIVE, options);
    for (int i = 0; i < 300; i++) {
        swap_once(&instances[i % 2], &instances[1 - i % 2], options);
        if (total != i + 1) {
            fprintf(stderr, "{%s}: %d runs in %d minutes\n", options, total, i + 1);
            exit(1);
        }
    }
    vm_close(instances[0].vm);
    close_plugins();
}

/* One reload after the other, none of whose instances lives for long. The first replaces the one
 * whose time has just come; the time is run meanwhile, not when the reloads are over.
 */
static void test_quick_swaps(void)
{
    struct instance instances[2];

    open_plugins(30);
    open_counter(&instances[0], INSTANCE_LIVE, "");
    pass(29900, 100);
    pass_ms(200);
    for (int i = 0; i < 60; i++) {
        struct instance *old = &instances[i % 2], *fresh = &instances[1 - i % 2];
        open_counter(fresh, INSTANCE_BUILDING, "");
        if (i == 0)
            ledger_close(old->vm);
        pass(3, 3);
        swap(old, fresh);
        vm_close(old->vm);
        pass(3, 3);
    }
    CHECK(total == 1);
    vm_close(instances[0].vm);
    close_plugins();
}

/* Built for minutes, while the old one goes on: none of its times is run again. */
static void test_slow_build(void)
{
    struct instance old, fresh;

    open_plugins(30);
    open_counter(&old, INSTANCE_LIVE, "");
    open_counter(&fresh, INSTANCE_BUILDING, "");
    pass(150500, 500);
    CHECK(total == 3);
    swap(&old, &fresh);
    pass(5000, 500);
    CHECK(total == 3);
    pass(60000, 500);
    CHECK(total == 4);
    CHECK(status_of(&fresh).runs == 4);
    vm_close(old.vm);
    vm_close(fresh.vm);
    close_plugins();
}

/* What is not live does not run; its time is not lost, though. */
static void test_not_live(void)
{
    struct instance fresh;

    open_plugins(30);
    open_counter(&fresh, INSTANCE_BUILDING, "");
    pass(40000, 500);
    CHECK(total == 0);
    instance_go_live(&fresh);
    pass(1000, 500);
    CHECK(total == 1);
    vm_close(fresh.vm);
    close_plugins();
}

/* One that fails to build leaves the old one as it is. */
static void test_failed_build(void)
{
    struct instance old, fresh;

    open_plugins(30);
    open_counter(&old, INSTANCE_LIVE, "");
    open_counter(&fresh, INSTANCE_BUILDING, "");
    pass(31000, 500);
    vm_close(fresh.vm);
    pass(60000, 500);
    CHECK(total == 2);
    vm_close(old.vm);
    close_plugins();
}

/* Two jobs that look the same are two. */
static void test_twins(void)
{
    begin(30,
          "rawset(_G, 'n', 0) for i = 1, 2 do cron.schedule('* * * * *', function() n = n + 1 end) "
          "end");
    pass(31000, 1000);
    CHECK(number(&one, "n") == 2);
    finish();
}

/* --- several replicas, whose Redis is not there --- */

static struct redis *redis;
static struct cron_locks *locks;
static unsigned notices;

static void on_notice(void *app, enum log_level level, const char *plugin, const char *message)
{
    (void)app;
    CHECK(level == LOG_WARN && strstr(message, "Redis does not say"));
    CHECK_STR(plugin, "tester");
    notices++;
}

static void open_shared(double seconds)
{
    const struct redis_options options = {.url = "unix:///nowhere/at/all.sock",
                                          .timeout_ms = 5000,
                                          .connect_timeout_ms = 5000,
                                          .queue = 100};
    struct plugins_options more = {.loop = loop, .on_notice = on_notice};
    struct err err;

    set_wall(seconds);
    reported[0] = '\0';
    total = 0;
    notices = 0;
    redis = redis_open(loop, &options, &err);
    CHECK(redis);
    locks = cron_locks_new(&(struct cron_locks_options){loop, redis, "me-1"});
    more.cron = book = cron_book_new();
    cron_book_share(book, locks);
    plugins = plugins_new(&more);
}

static void close_shared(void)
{
    close_plugins();
    cron_locks_free(locks);
    redis_close(redis);
    turn();
}

/* It is waited for a while; then a time is rather run twice than not at all. */
static void test_no_answer(void)
{
    open_shared(30);
    open_counter(&one, INSTANCE_LIVE, "");
    pass(31000 + 15000, 500);
    CHECK(total == 0 && notices == 0);
    pass(10000, 500);
    CHECK(total == 1 && notices == 1);
    CHECK(status_of(&one).runs == 1 && status_of(&one).elsewhere == 0);
    pass(60000, 500);
    CHECK(total == 2);
    vm_close(one.vm);
    close_shared();
}

/* The instance that follows waits on for the time that the one before could not settle. */
static void test_swap_without_answer(void)
{
    struct instance fresh;

    open_shared(30);
    open_counter(&one, INSTANCE_LIVE, "");
    pass(31000, 500);
    open_counter(&fresh, INSTANCE_BUILDING, "");
    pass(5000, 500);
    swap(&one, &fresh);
    vm_close(one.vm);
    CHECK(total == 0);
    pass(25000, 500);
    CHECK(total == 1);
    vm_close(fresh.vm);
    close_shared();
}

int main(void)
{
    struct err err;

    setenv("BUNTIME_LUA_DIR", "lua", 1);
    setenv("TZ", "UTC", 1);
    loop = loop_new(&err);
    CHECK(loop != NULL);
    test_runs();
    test_skips();
    test_overlap();
    test_errors();
    test_stops();
    test_clock_set();
    test_clock_adjusted();
    test_jitter();
    test_twins();
    test_quick_swaps();
    test_slow_build();
    test_not_live();
    test_failed_build();
    test_no_answer();
    test_swap_without_answer();
    test_swaps("");
    test_swaps("name = 'x', timezone = 'UTC'");
    test_swaps("jitter = 20");
    loop_free(loop);
    return 0;
}
