#include "bind/bind.h"

#include <stdbool.h>

#include <lauxlib.h>

#include "plugin/instance.h"
#include "vm/vm.h"

/* One a line, whatever their number. */
/* clang-format off */
static const luaL_Reg modules[] = {
    {"buntime.core.auth", bind_auth_open},
    {"buntime.core.fetch", bind_fetch_open},
    {"buntime.core.file", bind_file_open},
    {"buntime.core.fs", bind_fs_open},
    {"buntime.core.cron", bind_cron_open},
    {"buntime.core.crypto", bind_crypto_open},
    {"buntime.core.json", bind_json_open},
    {"buntime.core.multipart", bind_multipart_open},
    {"buntime.core.pool", bind_pool_open},
    {"buntime.core.postgres", bind_postgres_open},
    {"buntime.core.redis", bind_redis_open},
    {"buntime.core.request", bind_request_open},
    {"buntime.core.route", bind_route_open},
    {"buntime.core.semver", bind_semver_open},
    {"buntime.core.service", bind_service_open},
    {"buntime.core.shared", bind_shared_open},
    {"buntime.core.sqlite", bind_sqlite_open},
    {"buntime.core.stream", bind_stream_open},
    {"buntime.core.sys", bind_sys_open},
    {"buntime.core.task", bind_task_open},
    {"buntime.core.timer", bind_timer_open},
    {"buntime.core.websocket", bind_websocket_open},
    {NULL, NULL},
};
/* clang-format on */

/* clang-format off */
static const luaL_Reg control_modules[] = {
    {"buntime.core.control", bind_control_open},
    {"buntime.core.keys", bind_keys_open},
    {"buntime.core.metrics", bind_metrics_open},
    {"buntime.core.packages", bind_packages_open},
    {"buntime.core.replicas", bind_replicas_open},
    {"buntime.core.workers", bind_workers_open},
    {NULL, NULL},
};
/* clang-format on */

/* Whose is no plugin's. */
static bool is_control_plane(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));

    return instance && !instance->manifest;
}

/* To the table on top. */
static void add_modules(lua_State *L, const luaL_Reg *module)
{
    for (; module->name; module++) {
        lua_pushcfunction(L, module->func);
        lua_setfield(L, -2, module->name);
    }
}

int bind_open(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload"); /* package preload */
    add_modules(L, modules);
    if (is_control_plane(L))
        add_modules(L, control_modules);
    lua_pop(L, 2); /* - */
    return 0;
}
