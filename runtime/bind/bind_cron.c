/* buntime.core.cron: functions that run by the clock of a place.
 *
 * A job is on the VM's ledger as kind "cron" and stops with its instance's being replaced. The
 * instance that follows is built beside it, and its job waits until it is live: a time belongs to
 * whoever claims it first in the record that both share, so none is run twice or left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/cron.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/zone.h"
#include "bind/bind.h"
#include "bind/caller.h"
#include "bind/cron.h"
#include "data/cron_book.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/handle.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.cron.job"
#define KIND "cron"

enum {
    CHECK_MS = 60000,     /* the clock is looked at that often: somebody may set it */
    SET_BACK_MS = 600000, /* from here on it was set, not adjusted */
    NOT_LIVE_MS = 20,
};

struct cron_job {
    struct timer timer; /* first: fire() casts back */
    struct resource resource;
    struct vm *vm;
    struct handle *handle;
    struct cron_record *record;
    struct cron cron;
    struct zone *zone;
    char *name, *line, *timezone; /* timezone NULL: the machine's */
    int function;                 /* registry reference */
    bool overlap;
    double jitter;    /* seconds */
    int64_t due;      /* the time that is waited for, in seconds since 1970 */
    int64_t fire_ms;  /* that and the jitter */
    int64_t seen_ms;  /* what the clock showed when it was last looked at */
    unsigned running; /* tasks that hold the struct */
    bool closed;
};

/* One firing. */
struct job_run {
    struct cron_job *job;
    int64_t began_ms;
};

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the end of a job --- */

static void free_job(struct cron_job *job)
{
    cron_book_drop(job->record);
    zone_free(job->zone);
    free(job->name);
    free(job->line);
    free(job->timezone);
    free(job);
}

/* Freed at once, or by the last firing that still runs. */
static void close_job(struct cron_job *job)
{
    timer_stop(&job->timer);
    ledger_remove(&job->resource);
    handle_sever(&job->handle);
    luaL_unref(vm_main(job->vm), LUA_REGISTRYINDEX, job->function);
    job->closed = true;
    if (job->running == 0)
        free_job(job);
}

static struct cron_job *job_of(const struct resource *resource)
{
    return (struct cron_job *)((char *)resource - offsetof(struct cron_job, resource));
}

static void close_resource(struct resource *resource)
{
    close_job(job_of(resource));
}

/* --- running --- */

static void ended(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct job_run *run = arg;
    struct cron_job *job = run->job;
    struct cron_record *record = job->record;

    record->running--;
    record->took_ms = wall_ms() - run->began_ms;
    snprintf(record->error, sizeof(record->error), "%.255s", ok ? "" : err->message);
    record->failures += !ok;
    if (!ok && !task_cancelled(task))
        vm_report(job->vm, err);
    free(run);
    if (--job->running == 0 && job->closed)
        free_job(job);
}

static void run(struct cron_job *job, int64_t now_ms)
{
    struct cron_record *record = job->record;
    struct job_run *run;
    struct task *task;
    struct err err;

    if (record->claimed >= job->due && record->claimed <= now_ms / 1000)
        return; /* the instance before did */
    record->claimed = job->due;
    if (record->running > 0 && !job->overlap) {
        record->skipped++;
        return;
    }
    task = task_new(job->vm, &err);
    if (!task) {
        vm_report(job->vm, &err);
        return;
    }
    lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, job->function);
    run = mem_alloc(sizeof(*run));
    *run = (struct job_run){job, now_ms};
    job->running++;
    record->running++;
    record->runs++;
    record->last_ms = now_ms;
    task_start(task, 0, ended, run);
}

/* --- waiting --- */

static bool is_live(const struct cron_job *job)
{
    const struct instance *instance = vm_host(job->vm);

    return !instance || instance->state == INSTANCE_LIVE;
}

static void wait(struct cron_job *job)
{
    int64_t left = job->fire_ms - wall_ms();

    left = left < 0 ? 0 : left > CHECK_MS ? CHECK_MS : left;
    timer_start(vm_loop(job->vm), &job->timer, (uint64_t)left);
}

static int64_t random_ms(double seconds)
{
    uint32_t random;

    if (seconds <= 0)
        return 0;
    random_bytes(&random, sizeof(random));
    return (int64_t)(seconds * 1000 * (double)random / 4294967296.0);
}

static void arm(struct cron_job *job, int64_t due)
{
    job->due = due;
    job->fire_ms = due * 1000 + random_ms(job->jitter);
    job->record->armed = due;
    wait(job);
}

static void arm_after(struct cron_job *job, int64_t now_ms)
{
    arm(job, cron_next(&job->cron, job->zone, now_ms / 1000));
}

static void fire(struct timer *timer)
{
    struct cron_job *job = (struct cron_job *)timer;
    const int64_t now = wall_ms();
    const bool set_back = now < job->seen_ms - SET_BACK_MS;

    job->seen_ms = now;
    if (set_back) {
        arm_after(job, now);
    } else if (now < job->fire_ms) {
        wait(job);
    } else if (!is_live(job)) {
        timer_start(vm_loop(job->vm), timer, NOT_LIVE_MS);
    } else {
        job->running++; /* the function may stop its own job */
        run(job, now);
        job->running--;
        if (!job->closed)
            arm_after(job, now);
        else if (job->running == 0)
            free_job(job);
    }
}

/* --- the record that instances of a plugin share --- */

static const char book_key = 0;

static int free_book(lua_State *L)
{
    cron_book_free(*(struct cron_book **)lua_touserdata(L, 1));
    return 0;
}

/* The server's; of a VM without a server one of its own. */
static struct cron_book *book_of(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    struct cron_book *shared = instance ? plugins_options(instance->plugins)->cron : NULL;
    struct cron_book **own;

    if (shared)
        return shared;
    lua_pushlightuserdata(L, (void *)&book_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    own = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (own)
        return *own;
    lua_pushlightuserdata(L, (void *)&book_key);
    own = lua_newuserdata(L, sizeof(struct cron_book *)); /* key book */
    *own = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_book);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *own = cron_book_new();
    lua_rawset(L, LUA_REGISTRYINDEX);
    return *own;
}

static bool is_twin(const struct cron_job *a, const struct cron_job *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->line, b->line) == 0 &&
           strcmp(a->timezone ? a->timezone : "", b->timezone ? b->timezone : "") == 0;
}

/* How many of the VM's jobs are named the same: each has a record of its own. */
static unsigned count_twins(const struct cron_job *job)
{
    unsigned count = 0;

    for (const struct resource *at = ledger_first(job->vm); at; at = at->next)
        count += strcmp(at->kind, KIND) == 0 && is_twin(job, job_of(at));
    return count;
}

/* What makes it the same schedule in the next instance. Where in the file it stands does not: an
 * edit further up moves that.
 */
static void take_record(struct cron_job *job, struct cron_book *book, bool named)
{
    char *key = mem_printf("%s\n%s\n%s\n%s\n%u", vm_name(job->vm), named ? job->name : "",
                           job->line, job->timezone ? job->timezone : "", count_twins(job));

    job->record = cron_book_take(book, key);
    free(key);
}

/* A time that the instance before was to run just now, and perhaps will not any more. */
static bool inherits(const struct cron_job *job, int64_t now_ms)
{
    const struct cron_record *record = job->record;

    return record->refs > 1 && record->armed > record->claimed && record->armed <= now_ms / 1000 &&
           (double)(now_ms / 1000 - record->armed) <= job->jitter + 1;
}

static void begin(struct cron_job *job)
{
    const int64_t now = wall_ms();

    job->seen_ms = now;
    if (inherits(job, now))
        arm(job, job->record->armed);
    else
        arm_after(job, now);
}

/* --- Lua --- */

static int problem(lua_State *L, const struct err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    return 2;
}

static bool check_line(lua_State *L, int arg, struct cron *cron, struct err *err)
{
    struct str line;

    line.at = luaL_checklstring(L, arg, &line.len);
    return cron_parse(line, cron, err);
}

static struct zone *open_zone(const char *name, struct err *err)
{
    return name ? zone_load(name, err) : zone_local();
}

struct wanted {
    const char *line, *name, *place; /* name NULL: the place is it */
    struct cron cron;
    double jitter;
    bool overlap;
};

/* Takes over zone and function. */
static struct cron_job *
new_job(struct vm *vm, const struct wanted *want, struct zone *zone, int function)
{
    struct cron_job *job = mem_alloc(sizeof(*job));

    job->timer.fire = fire;
    job->vm = vm;
    job->cron = want->cron;
    job->zone = zone;
    job->name = mem_copy(want->name ? want->name : want->place);
    job->line = mem_copy(want->line);
    job->function = function;
    job->overlap = want->overlap;
    job->jitter = want->jitter;
    job->resource.kind = KIND;
    job->resource.close = close_resource;
    snprintf(job->resource.label, sizeof(job->resource.label), "%.40s %.22s", job->name, job->line);
    return job;
}

/* schedule(line, fn, name?, timezone?, overlap, jitter) -> job, or nil and why not */
static int schedule(lua_State *L)
{
    const char *zone_name = luaL_optstring(L, 4, NULL);
    struct wanted want = {.line = luaL_checkstring(L, 1),
                          .name = luaL_optstring(L, 3, NULL),
                          .overlap = lua_toboolean(L, 5),
                          .jitter = luaL_checknumber(L, 6)};
    struct cron_book *book;
    struct zone *zone;
    struct handle *handle;
    struct cron_job *job;
    struct err err;
    char place[64];
    int function;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!vm_loop(vm_of(L)))
        return luaL_error(L, "there are no schedules here: nothing turns an event loop");
    if (!check_line(L, 1, &want.cron, &err))
        return problem(L, &err);
    /* Everything that can raise comes before what must be freed. */
    book = book_of(L);
    handle = handle_new(L, TYPE);
    lua_pushvalue(L, 2);
    function = luaL_ref(L, LUA_REGISTRYINDEX);
    zone = open_zone(zone_name, &err);
    if (!zone) {
        luaL_unref(L, LUA_REGISTRYINDEX, function);
        return problem(L, &err);
    }
    caller_name(L, 2, place, sizeof(place));
    want.place = place;
    job = new_job(vm_of(L), &want, zone, function);
    job->timezone = mem_copy(zone_name);
    take_record(job, book, want.name != NULL);
    ledger_add(job->vm, &job->resource);
    handle_link(handle, job, &job->handle);
    begin(job);
    return 1;
}

/* next(line, timezone?, after) -> seconds since 1970, or nil and why not */
static int next_time(lua_State *L)
{
    const char *zone_name = luaL_optstring(L, 2, NULL);
    const lua_Number after = luaL_checknumber(L, 3);
    struct cron cron;
    struct zone *zone;
    struct err err;

    luaL_argcheck(L, after >= -1e11 && after <= 1e11, 3, "expected seconds since 1970");
    if (!check_line(L, 1, &cron, &err))
        return problem(L, &err);
    zone = open_zone(zone_name, &err);
    if (!zone)
        return problem(L, &err);
    lua_pushnumber(L, (lua_Number)cron_next(&cron, zone, (int64_t)after));
    zone_free(zone);
    return 1;
}

/* stop(job) -> whether it was still to run */
static int stop(lua_State *L)
{
    const struct handle *handle = luaL_checkudata(L, 1, TYPE);
    struct cron_job *job = handle->object;

    lua_pushboolean(L, job != NULL);
    if (job)
        close_job(job);
    return 1;
}

static void fill_status(const struct cron_job *job, struct cron_status *status)
{
    const struct cron_record *record = job->record;

    *status = (struct cron_status){
        .name = job->name,
        .line = job->line,
        .timezone = job->timezone,
        .next = (double)job->due,
        .running = record->running > 0,
        .has_run = record->last_ms != CRON_NEVER,
        .runs = record->runs,
        .failures = record->failures,
        .skipped = record->skipped,
        .last = (double)record->last_ms / 1000,
        .seconds = (double)record->took_ms / 1000,
        .error = record->error,
    };
}

bool cron_status(const struct resource *resource, struct cron_status *status)
{
    if (strcmp(resource->kind, KIND) != 0)
        return false;
    fill_status(job_of(resource), status);
    return true;
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, field);
}

/* status(job) -> table, or nothing once it is stopped */
static int get_status(lua_State *L)
{
    const struct handle *handle = luaL_checkudata(L, 1, TYPE);
    struct cron_status status;

    if (!handle->object)
        return 0;
    fill_status(handle->object, &status);
    lua_createtable(L, 0, 11);
    set_text(L, "name", status.name);
    set_text(L, "line", status.line);
    set_text(L, "timezone", status.timezone);
    set_number(L, "next", status.next);
    lua_pushboolean(L, status.running);
    lua_setfield(L, -2, "running");
    set_number(L, "runs", (double)status.runs);
    set_number(L, "failures", (double)status.failures);
    set_number(L, "skipped", (double)status.skipped);
    if (!status.has_run)
        return 1;
    set_number(L, "last", status.last);
    set_number(L, "seconds", status.seconds);
    set_text(L, "error", *status.error ? status.error : NULL);
    return 1;
}

static const luaL_Reg functions[] = {
    {"schedule", schedule}, {"next", next_time}, {"stop", stop},
    {"status", get_status}, {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {NULL, NULL},
};

int bind_cron_open(lua_State *L)
{
    handle_register(L, TYPE, methods);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
