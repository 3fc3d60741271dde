/* buntime.core.metrics: the page of counters, for the control plane's VM alone. */
#include "bind/bind.h"

#include <lauxlib.h>

#include "base/buf.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/vm.h"

static int push_text(lua_State *L, void *arg)
{
    const struct buf *text = arg;

    lua_pushlstring(L, text->data ? text->data : "", text->len);
    return 1;
}

/* page() -> text. The buffer is freed whether or not there is memory for the string. */
static int page(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    const struct plugins_options *options = plugins_options(instance->plugins);
    struct buf text = {0};
    struct err err;
    bool ok;

    if (options->write_metrics)
        options->write_metrics(options->app, &text);
    ok = vm_protect(L, push_text, &text, 1, &err);
    buf_fini(&text);
    return ok ? 1 : luaL_error(L, "%s", err.message);
}

static const luaL_Reg functions[] = {{"page", page}, {NULL, NULL}};

int bind_metrics_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
