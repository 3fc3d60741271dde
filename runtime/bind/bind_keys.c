/* buntime.core.keys: the keys and sessions of the control plane. Only its own VM has this module
 * (bind.c). Says nothing of who may do what: that is lua/buntime/api.
 */
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <openssl/crypto.h>

#include "base/duration.h"
#include "base/mem.h"
#include "base/permission.h"
#include "bind/bind.h"
#include "bind/identity.h"
#include "bind/json.h"
#include "bind/request.h"
#include "bind/session_cookie.h"
#include "data/keyring.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

static const struct plugins_options *options_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return plugins_options(self->plugins);
}

static struct keyring *keyring_of(lua_State *L)
{
    return options_of(L)->keyring;
}

/* --- looking --- */

static void push_role(lua_State *L, const struct role *role)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, role->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, role->custom);
    lua_setfield(L, -2, "custom");
    identity_push_permissions(L, role->set);
    lua_setfield(L, -2, "permissions");
}

/* meta() -> { roles, permissions } */
static int keys_meta(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_createtable(L, ROLE_COUNT, 0);
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        push_role(L, role_at(i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "roles");
    identity_push_permissions(L, permissions_all);
    lua_setfield(L, -2, "permissions");
    return 1;
}

/* duration(text) -> ms | nil */
static int keys_duration(lua_State *L)
{
    struct str text;
    uint64_t ms;

    text.at = luaL_checklstring(L, 1, &text.len);
    if (duration_parse(text, &ms))
        lua_pushnumber(L, (lua_Number)ms);
    else
        lua_pushnil(L);
    return 1;
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_time(lua_State *L, const char *key, int64_t ms)
{
    lua_pushnumber(L, (lua_Number)ms);
    lua_setfield(L, -2, key);
}

static void push_key(lua_State *L, const struct api_key *key)
{
    lua_createtable(L, 0, 10);
    set_text(L, "id", key->id);
    set_text(L, "name", key->name);
    set_text(L, "keyPrefix", key->prefix);
    set_text(L, "role", key->role ? key->role->name : "custom");
    set_text(L, "createdBy", key->creator);
    set_time(L, "created", key->created);
    set_time(L, "expires", key->expires);
    set_time(L, "used", key->used);
    identity_push_permissions(L, key->permissions);
    lua_setfield(L, -2, "permissions");
    identity_push_words(L, key->namespaces);
    lua_setfield(L, -2, "namespaces");
}

/* list() -> every key, in the order they were made */
static int keys_list(lua_State *L)
{
    int len = 0;

    lua_newtable(L);
    json_mark_array(L, -1);
    for (const struct api_key *key = keyring_first(keyring_of(L)); key; key = key->next) {
        push_key(L, key);
        lua_rawseti(L, -2, ++len);
    }
    return 1;
}

/* find(id) -> key | nil */
static int keys_find(lua_State *L)
{
    const struct api_key *key = keyring_find(keyring_of(L), luaL_checkstring(L, 1));

    if (key)
        push_key(L, key);
    else
        lua_pushnil(L);
    return 1;
}

/* problem() -> why nothing but the root key is known | nil */
static int keys_problem(lua_State *L)
{
    lua_pushstring(L, keyring_problem(keyring_of(L)));
    return 1;
}

/* --- changing: these wait until it is written --- */

struct wait {
    struct task *task; /* NULL: nobody waits any more */
    const struct err *err;
    bool has_key, has_token;
    struct key_made made;
    char token[TOKEN_SIZE];
};

static int push_outcome(lua_State *L, void *arg)
{
    const struct wait *wait = arg;

    if (wait->err) {
        lua_pushnil(L);
        lua_pushstring(L, wait->err->message);
        lua_pushstring(L, wait->err->code);
        return 3;
    }
    if (wait->has_key) {
        lua_createtable(L, 0, 3);
        set_text(L, "key", wait->made.key);
        set_text(L, "id", wait->made.id);
        set_text(L, "prefix", wait->made.prefix);
    } else if (wait->has_token) {
        lua_pushstring(L, wait->token);
    } else {
        lua_pushboolean(L, 1);
    }
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
}

static void written(void *arg, const struct err *problem)
{
    struct wait *wait = arg;
    struct task_answer answer;

    wait->err = problem;
    answer = task_prepare(wait->task, push_outcome, wait, 3);
    OPENSSL_cleanse(wait, sizeof(*wait));
    free(wait);
    task_answer(answer);
}

static void forget(void *arg)
{
    struct wait *wait = arg;

    wait->task = NULL;
}

static struct wait *wait_new(lua_State *L)
{
    struct task *task = task_current(L);
    struct wait *wait;

    if (!task)
        luaL_error(L, "cannot wait here: no task is running");
    wait = mem_alloc(sizeof(*wait));
    wait->task = task;
    return wait;
}

static struct key_done done_of(struct wait *wait)
{
    return (struct key_done){written, wait};
}

static const char *text_field(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key); /* stays on the stack while it is borrowed */
    return luaL_checkstring(L, -1);
}

/* create{ name, role, permissions, namespaces, lifetime, creator }: waits -> { key, id, prefix } |
 * nil, message, code
 */
static int keys_create(lua_State *L)
{
    struct key_spec spec;
    struct wait *wait;

    luaL_checktype(L, 1, LUA_TTABLE);
    spec.name = text_field(L, "name");
    spec.role = role_find(str_of(text_field(L, "role")));
    spec.permissions = permissions_read(str_of(text_field(L, "permissions")));
    spec.namespaces = text_field(L, "namespaces");
    spec.creator = text_field(L, "creator");
    lua_getfield(L, 1, "lifetime");
    spec.lifetime = (int64_t)luaL_checknumber(L, -1);
    if (!spec.role)
        return luaL_error(L, "create: there is no such role");
    wait = wait_new(L);
    wait->has_key = true;
    keyring_create(keyring_of(L), &spec, &wait->made, done_of(wait));
    return task_wait(L, forget, wait);
}

/* full() -> whether there are as many keys as there may be */
static int keys_full(lua_State *L)
{
    lua_pushboolean(L, keyring_full(keyring_of(L)));
    return 1;
}

/* true, false: there is nothing of the kind */
static int push_missing(lua_State *L, struct wait *wait)
{
    free(wait);
    lua_pushboolean(L, 1);
    lua_pushboolean(L, 0);
    return 2;
}

/* revoke(id): waits -> true | false | nil, message, code */
static int keys_revoke(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);
    struct wait *wait = wait_new(L);

    if (!keyring_revoke(keyring_of(L), id, done_of(wait)))
        return push_missing(L, wait);
    return task_wait(L, forget, wait);
}

/* --- sessions --- */

/* login(req, key) -> true, caller | false, status, code, message, principal, retry_after */
static int keys_login(lua_State *L)
{
    const struct plugins_options *options = options_of(L);
    const struct bind_request *request = request_live(L, 1);
    struct identity who = identity_anonymous;
    struct denial denial = {.status = 0};
    struct str key;

    key.at = luaL_checklstring(L, 2, &key.len);
    if (!options->login(options->app, request->x, key, &who, &denial))
        return identity_push_denial(L, &who, &denial);
    lua_pushboolean(L, 1);
    identity_push(L, &who);
    return 2;
}

/* begin(id?): waits -> token of a session of that key, or of the root key | nil, message, code */
static int keys_begin(lua_State *L)
{
    const char *key = luaL_optstring(L, 1, "");
    struct wait *wait = wait_new(L);

    wait->has_token = true;
    keyring_log_in(keyring_of(L), key, wait->token, done_of(wait));
    return task_wait(L, forget, wait);
}

/* logout(req): waits -> true | false | nil, message, code */
static int keys_logout(lua_State *L)
{
    const struct str token = exchange_token(request_live(L, 1)->x);
    struct wait *wait = wait_new(L);

    if (token.len == 0 || !keyring_log_out(keyring_of(L), token, done_of(wait)))
        return push_missing(L, wait);
    return task_wait(L, forget, wait);
}

static const luaL_Reg functions[] = {
    {"meta", keys_meta},     {"duration", keys_duration}, {"list", keys_list},
    {"find", keys_find},     {"full", keys_full},         {"create", keys_create},
    {"revoke", keys_revoke}, {"login", keys_login},       {"logout", keys_logout},
    {"begin", keys_begin},   {"problem", keys_problem},   {NULL, NULL},
};

int bind_keys_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushliteral(L, SESSION_COOKIE);
    lua_setfield(L, -2, "cookie");
    lua_pushnumber(L, SESSION_LIFE_MS / 1000);
    lua_setfield(L, -2, "session_seconds");
    lua_pushnumber(L, SESSION_IDLE_MS / 1000);
    lua_setfield(L, -2, "idle_seconds");
    return 1;
}
