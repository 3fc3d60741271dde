#include "bind/identity.h"

#include <string.h>

#include "base/permission.h"
#include "bind/json.h"
#include "data/keyring.h"
#include "plugin/plugins.h"

void identity_push_permissions(lua_State *L, unsigned permissions)
{
    int len = 0;

    lua_newtable(L);
    json_mark_array(L, -1);
    for (unsigned i = 0; i < PERMISSION_COUNT; i++) {
        if (permissions & 1U << i) {
            lua_pushstring(L, permission_name(i));
            lua_rawseti(L, -2, ++len);
        }
    }
}

void identity_push_words(lua_State *L, const char *text)
{
    int len = 0;

    lua_newtable(L);
    json_mark_array(L, -1);
    while (*text) {
        const size_t word = strcspn(text, " ");
        lua_pushlstring(L, text, word);
        lua_rawseti(L, -2, ++len);
        text += word + strspn(text + word, " ");
    }
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

void identity_push(lua_State *L, const struct identity *who)
{
    lua_createtable(L, 0, 9);
    set_text(L, "principal", who->principal);
    if (who->key) {
        set_text(L, "id", who->key->id);
        set_text(L, "name", who->key->name);
    }
    if (who->role)
        set_text(L, "role", who->role->name);
    lua_pushboolean(L, who->permissions == ~0U || who->permissions == permissions_all);
    lua_setfield(L, -2, "all");
    lua_pushboolean(L, who->session);
    lua_setfield(L, -2, "session");
    lua_pushnumber(L, (lua_Number)who->expires);
    lua_setfield(L, -2, "expires");
    identity_push_permissions(L, who->permissions);
    lua_setfield(L, -2, "permissions");
    identity_push_words(L, who->namespaces);
    lua_setfield(L, -2, "namespaces");
}

int identity_push_denial(lua_State *L, const struct identity *who, const struct denial *denial)
{
    lua_pushboolean(L, 0);
    lua_pushinteger(L, (lua_Integer)denial->status);
    lua_pushstring(L, denial->code);
    lua_pushstring(L, denial->message);
    lua_pushstring(L, who->principal);
    lua_pushinteger(L, (lua_Integer)denial->retry_after);
    return 6;
}
