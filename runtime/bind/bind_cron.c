/* buntime.core.cron: functions that run by the clock of a place. */
#include <lauxlib.h>
#include <lua.h>

#include "base/cron.h"
#include "base/zone.h"
#include "bind/bind.h"
#include "bind/caller.h"
#include "bind/cron_job.h"
#include "data/cron_book.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/handle.h"
#include "vm/vm.h"

#define TYPE "buntime.cron.job"

/* --- the book --- */

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

/* --- functions --- */

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

/* schedule(line, fn, name?, timezone?, overlap, jitter) -> job, or nil and why not */
static int schedule(lua_State *L)
{
    struct cron_job_options options = {
        .vm = vm_of(L),
        .line = luaL_checkstring(L, 1),
        .name = luaL_optstring(L, 3, NULL),
        .timezone = luaL_optstring(L, 4, NULL),
        .overlap = lua_toboolean(L, 5),
        .jitter = luaL_checknumber(L, 6),
    };
    const struct instance *instance = vm_host(vm_of(L));
    struct handle *handle;
    struct cron_job *job;
    struct err err;
    char place[64];

    if (instance && plugins_options(instance->plugins)->worker)
        return luaL_error(L, "schedules need a persistent plugin (plugin.lua): a worker process "
                             "ends when it has nothing to do");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!vm_loop(options.vm))
        return luaL_error(L, "there are no schedules here: nothing turns an event loop");
    if (!check_line(L, 1, &options.cron, &err))
        return problem(L, &err);
    /* Everything that can raise comes before what must be freed. */
    options.book = book_of(L);
    handle = handle_new(L, TYPE);
    lua_pushvalue(L, 2);
    options.function = luaL_ref(L, LUA_REGISTRYINDEX);
    options.zone = open_zone(options.timezone, &err);
    if (!options.zone) {
        luaL_unref(L, LUA_REGISTRYINDEX, options.function);
        return problem(L, &err);
    }
    caller_name(L, 2, place, sizeof(place));
    options.place = place;
    job = cron_job_start(&options);
    handle_link(handle, job, cron_job_handle(job));
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
        cron_job_stop(job);
    return 1;
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
    cron_job_status(handle->object, &status);
    lua_createtable(L, 0, 12);
    set_text(L, "name", status.name);
    set_text(L, "line", status.line);
    set_text(L, "timezone", status.timezone);
    set_number(L, "next", status.next);
    lua_pushboolean(L, status.running);
    lua_setfield(L, -2, "running");
    set_number(L, "runs", (double)status.runs);
    set_number(L, "failures", (double)status.failures);
    set_number(L, "skipped", (double)status.skipped);
    set_number(L, "elsewhere", (double)status.elsewhere);
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
