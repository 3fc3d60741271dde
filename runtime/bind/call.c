#include "bind/call.h"

#include <stddef.h>
#include <stdio.h>

#include "conf/manifest.h"
#include "http/exchange.h"
#include "plugin/instance.h"
#include "worker/app.h"

enum bind_result bind_result(lua_State *L)
{
    return (enum bind_result)lua_tointeger(L, 1);
}

/* Raw, so that no metamethod runs outside a protected call. */
static void push_raw_field(lua_State *L, int index, const char *key)
{
    lua_pushstring(L, key);
    lua_rawget(L, index);
}

static const char *text_field(lua_State *L, int index, const char *key, const char *otherwise)
{
    push_raw_field(L, index, key);
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : otherwise;
}

/* As lua/buntime/error.lua has them. */
static const char *code_of(unsigned status, char *space, size_t size)
{
    static const struct {
        unsigned status;
        const char *code;
    } codes[] = {
        {400, "BAD_REQUEST"},         {401, "UNAUTHORIZED"},
        {403, "FORBIDDEN"},           {404, "NOT_FOUND"},
        {405, "METHOD_NOT_ALLOWED"},  {409, "CONFLICT"},
        {413, "BODY_TOO_LARGE"},      {415, "UNSUPPORTED_MEDIA_TYPE"},
        {422, "UNPROCESSABLE"},       {426, "UPGRADE_REQUIRED"},
        {429, "TOO_MANY_REQUESTS"},   {500, "INTERNAL_SERVER_ERROR"},
        {503, "SERVICE_UNAVAILABLE"},
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].status == status)
            return codes[i].code;
    }
    snprintf(space, size, "HTTP_%u", status);
    return space;
}

bool bind_error_response(lua_State *L, struct exchange *x)
{
    const int index = lua_gettop(L);
    lua_Number status;
    char space[16];

    if (index == 0 || !lua_istable(L, index) || !lua_checkstack(L, 4))
        return false;
    push_raw_field(L, index, "status");
    status = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (status >= 400 && status <= 599 && status == (lua_Number)(unsigned)status)
        exchange_respond_error(
            x, (unsigned)status,
            text_field(L, index, "code", code_of((unsigned)status, space, sizeof(space))),
            text_field(L, index, "message", "The request failed"), NULL);
    else
        status = 0;
    lua_settop(L, index);
    return status != 0;
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static const char apps_key;

/* Pushes the VM's table of apps by instance number and kind. Weak, so that those of instances that
 * are gone do not pile up.
 */
static void push_apps(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&apps_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    set_text(L, "__mode", "v");
    lua_setmetatable(L, -2);
    lua_pushlightuserdata(L, (void *)&apps_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static const char *const kinds[] = {
    [BIND_PLUGIN] = "plugin", [BIND_WORKER] = "worker", [BIND_STATIC] = "static"};

static void make_app(lua_State *L, const struct manifest *manifest, enum bind_kind kind)
{
    lua_createtable(L, 0, 5);
    set_text(L, "name", manifest->name);
    set_text(L, "kind", kinds[kind]);
    set_text(L, "base", manifest->base);
    set_text(L, "version", manifest->version);
    set_text(L, "dir", manifest->dir);
}

void bind_push_worker_app(lua_State *L, const struct app *app)
{
    const bool html = app->manifest->entrypoint_is_html;

    make_app(L, app->manifest, html ? BIND_STATIC : BIND_WORKER);
    set_text(L, "name", app->name);
    if (!app->base)
        lua_pushfstring(L, "/%s", app->name);
    else
        lua_pushstring(L, app->base);
    lua_setfield(L, -2, "base");
    if (app->version)
        set_text(L, "version", app->version);
    set_text(L, "dir", app->dir);
}

void bind_push_app(lua_State *L, const struct bind_target *target)
{
    const struct instance *in = target->in;

    if (target->app) {
        bind_push_worker_app(L, target->app);
        lua_pushlstring(L, target->base.at, target->base.len);
        lua_setfield(L, -2, "base");
        return;
    }
    if (!in) {
        lua_pushnil(L);
        return;
    }
    push_apps(L);
    lua_rawgeti(L, -1, (int)(in->serial * 4 + target->kind));
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        make_app(L, in->manifest, target->kind);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, (int)(in->serial * 4 + target->kind));
    }
    lua_remove(L, -2);
}
