/* buntime.core.auth: whether a request may use the control plane. The rules are the server's. */
#include <lauxlib.h>

#include "bind/bind.h"
#include "bind/identity.h"
#include "bind/request.h"
#include "data/keyring.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/vm.h"

/* check(req, permission?, mutating?) -> true, caller | false, status, code, message, principal,
 * retry_after
 */
static int auth_check(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    const struct plugins_options *options = plugins_options(instance->plugins);
    const struct bind_request *request = request_live(L, 1);
    const char *permission = luaL_optstring(L, 2, NULL);
    struct identity who = identity_anonymous;
    struct denial denial = {.status = 0};

    if (!options->authorize(options->app, request->x, permission, lua_toboolean(L, 3), &who,
                            &denial))
        return identity_push_denial(L, &who, &denial);
    lua_pushboolean(L, 1);
    identity_push(L, &who);
    return 2;
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
