/* buntime.core.auth: whether a request may use the control plane. The rules are the server's. */
#include <lauxlib.h>

#include "bind/bind.h"
#include "bind/request.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/vm.h"

/* check(req, permission, mutating?) -> true, principal | false, status, code, message, principal,
 * retry_after
 */
static int auth_check(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    const struct plugins_options *options = plugins_options(instance->plugins);
    const struct bind_request *request = request_live(L, 1);
    const char *permission = luaL_checkstring(L, 2);
    const char *principal = "anonymous";
    struct denial denial = {.status = 0};

    if (options->authorize(options->app, request->x, permission, lua_toboolean(L, 3), &principal,
                           &denial)) {
        lua_pushboolean(L, 1);
        lua_pushstring(L, principal);
        return 2;
    }
    lua_pushboolean(L, 0);
    lua_pushinteger(L, (lua_Integer)denial.status);
    lua_pushstring(L, denial.code);
    lua_pushstring(L, denial.message);
    lua_pushstring(L, principal);
    lua_pushinteger(L, (lua_Integer)denial.retry_after);
    return 6;
}

static const luaL_Reg functions[] = {
    {"check", auth_check},
    {NULL, NULL},
};

int bind_auth_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
