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

/* Only the control plane's VM, which is no plugin's. */
static bool is_control_plane(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));

    return instance && !instance->manifest;
}

int bind_open(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload"); /* package preload */
    for (const luaL_Reg *module = modules; module->name; module++) {
        lua_pushcfunction(L, module->func);
        lua_setfield(L, -2, module->name);
    }
    if (is_control_plane(L)) {
        lua_pushcfunction(L, bind_control_open);
        lua_setfield(L, -2, "buntime.core.control");
        lua_pushcfunction(L, bind_keys_open);
        lua_setfield(L, -2, "buntime.core.keys");
    }
    lua_pop(L, 2); /* - */
    return 0;
}
