/* YAML values and manifests as Lua values. These may raise (memory): call them protected. */
#pragma once

#include <lua.h>

struct instance;
struct settings;
struct value;

/* Lists become sequences, maps become tables, null becomes nil. */
void push_value(lua_State *L, const struct value *value);

/* The table that lua/buntime/plugin.lua builds an instance from. */
void push_spec(lua_State *L, const struct instance *instance, const struct settings *settings);
