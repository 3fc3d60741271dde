/* buntime.core.pool: what the pool of worker processes counts, for ctx.pool. */
#include <lauxlib.h>

#include "bind/bind.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/vm.h"
#include "worker/pool.h"

static const struct pool *pool_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return self ? plugins_options(self->plugins)->pool : NULL;
}

/* stats() -> table */
static int stats(lua_State *L)
{
    const struct pool *pool = pool_of(L);
    const struct pool_stats now = pool ? pool_stats(pool) : (struct pool_stats){0};
    const struct {
        const char *name;
        double value;
    } fields[] = {
        {"size", (double)now.size},       {"workers", (double)now.workers},
        {"busy", (double)now.busy},       {"idle", (double)now.idle},
        {"queued", (double)now.queued},   {"requests", (double)now.requests},
        {"spawned", (double)now.spawned}, {"terminated", (double)now.terminated},
        {"killed", (double)now.killed},   {"timeouts", (double)now.timeouts},
        {"crashes", (double)now.crashes}, {"rejected", (double)now.rejected},
    };

    lua_createtable(L, 0, (int)(sizeof(fields) / sizeof(fields[0])));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        lua_pushnumber(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

static const luaL_Reg functions[] = {{"stats", stats}, {NULL, NULL}};

int bind_pool_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
