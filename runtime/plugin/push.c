#include "plugin/push.h"

#include <lauxlib.h>

#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "conf/value.h"
#include "plugin/instance.h"

static void push_list(lua_State *L, const struct value *value)
{
    lua_createtable(L, (int)value->list.len, 0);
    for (size_t i = 0; i < value->list.len; i++) {
        push_value(L, value->list.items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_map(lua_State *L, const struct value *value)
{
    lua_createtable(L, 0, (int)value->map.len);
    for (size_t i = 0; i < value->map.len; i++) {
        const struct value_entry *entry = &value->map.entries[i];
        lua_pushlstring(L, entry->key.at, entry->key.len);
        push_value(L, entry->value);
        lua_rawset(L, -3);
    }
}

void push_value(lua_State *L, const struct value *value)
{
    luaL_checkstack(L, 4, "value");
    switch (value ? value->type : VALUE_NULL) {
    case VALUE_NULL:
        lua_pushnil(L);
        break;
    case VALUE_BOOL:
        lua_pushboolean(L, value->boolean);
        break;
    case VALUE_NUMBER:
        lua_pushnumber(L, value->number);
        break;
    case VALUE_STRING:
        lua_pushlstring(L, value->string.at, value->string.len);
        break;
    case VALUE_LIST:
        push_list(L, value);
        break;
    case VALUE_MAP:
        push_map(L, value);
        break;
    }
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text); /* NULL pushes nil */
    lua_setfield(L, -2, key);
}

static void set_names(lua_State *L, const char *key, const char *const *names)
{
    lua_newtable(L);
    for (int i = 1; *names; names++, i++) {
        lua_pushstring(L, *names);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, key);
}

static void set_list(lua_State *L, const char *key, const struct string_list *list)
{
    lua_createtable(L, (int)list->len, 0);
    for (size_t i = 0; i < list->len; i++) {
        lua_pushstring(L, list->items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, key);
}

void push_spec(lua_State *L, const struct instance *instance, const struct settings *settings)
{
    const struct manifest *manifest = instance->manifest;

    luaL_checkstack(L, 8, "spec");
    lua_newtable(L);
    set_text(L, "name", manifest->name);
    set_text(L, "version", manifest->version);
    set_text(L, "base", manifest->base);
    set_text(L, "dir", manifest->dir);
    lua_pushfstring(L, "%s/%s", manifest->dir, manifest->entry);
    lua_setfield(L, -2, "entry");
    set_names(L, "dependencies", manifest->dependencies);
    set_names(L, "optionalDependencies", manifest->optional_dependencies);
    push_value(L, config_root(instance->config));
    lua_setfield(L, -2, "config");
    lua_newtable(L);
    lua_pushinteger(L, (lua_Integer)settings->pool_size);
    lua_setfield(L, -2, "poolSize");
    set_list(L, "pluginDirs", &settings->plugin_dirs);
    set_list(L, "workerDirs", &settings->worker_dirs);
    lua_setfield(L, -2, "globalConfig");
    lua_pushfstring(L, "%s/api", settings->api_prefix);
    lua_setfield(L, -2, "api");
}
