#include "vm/transfer.h"

#include <lauxlib.h>

enum { DEPTH_MAX = 200 };

static bool holds_function(lua_State *L, int index)
{
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const bool found = lua_type(L, -1) == LUA_TFUNCTION;
        lua_pop(L, 1);
        if (!found)
            continue;
        lua_pop(L, 1);
        return true;
    }
    return false;
}

bool transfer_by_reference(const struct transfer *t, int index)
{
    if (lua_getmetatable(t->from, index)) {
        lua_pop(t->from, 1);
        return !t->is_marked(t->from, index);
    }
    return holds_function(t->from, index);
}

/* Pushes the copy already made of this table, if there is one. */
static bool push_seen(struct transfer *t, int index)
{
    if (!t->seen)
        return false;
    lua_pushlightuserdata(t->to, (void *)lua_topointer(t->from, index));
    lua_rawget(t->to, t->seen);
    if (!lua_isnil(t->to, -1))
        return true;
    lua_pop(t->to, 1);
    return false;
}

/* The copy is on top of `to`. */
static void remember(struct transfer *t, int index)
{
    lua_pushlightuserdata(t->to, (void *)lua_topointer(t->from, index));
    lua_pushvalue(t->to, -2);
    lua_rawset(t->to, t->seen);
}

static void copy_fields(struct transfer *t, int index)
{
    lua_pushnil(t->from);
    while (lua_next(t->from, index)) {
        const int top = lua_gettop(t->from);
        transfer_value(t, top - 1);
        transfer_value(t, top);
        lua_rawset(t->to, -3);
        lua_settop(t->from, top - 1);
    }
}

static void copy_table(struct transfer *t, int index)
{
    if (push_seen(t, index))
        return;
    if (++t->depth > DEPTH_MAX)
        luaL_error(t->to, "a value is nested too deeply to cross between plugins (%d levels)",
                   DEPTH_MAX);
    lua_newtable(t->to);
    if (t->seen)
        remember(t, index);
    copy_fields(t, index);
    if (t->is_marked(t->from, index))
        t->mark(t->to, lua_gettop(t->to));
    t->depth--;
}

static void transfer_table(struct transfer *t, int index)
{
    if (transfer_by_reference(t, index)) {
        t->reference(t, index);
        return;
    }
    if (t->seen) {
        copy_table(t, index);
        return;
    }
    lua_newtable(t->to);
    t->seen = lua_gettop(t->to);
    copy_table(t, index);
    lua_remove(t->to, t->seen);
    t->seen = 0;
}

/* Pushes a value that needs no copying of structure; false: it is none. */
static bool push_scalar(lua_State *from, int index, lua_State *to)
{
    const char *text;
    size_t len;

    switch (lua_type(from, index)) {
    case LUA_TNIL:
    case LUA_TNONE:
        lua_pushnil(to);
        return true;
    case LUA_TBOOLEAN:
        lua_pushboolean(to, lua_toboolean(from, index));
        return true;
    case LUA_TNUMBER:
        lua_pushnumber(to, lua_tonumber(from, index));
        return true;
    case LUA_TLIGHTUSERDATA:
        lua_pushlightuserdata(to, lua_touserdata(from, index));
        return true;
    case LUA_TSTRING:
        text = lua_tolstring(from, index, &len);
        lua_pushlstring(to, text, len);
        return true;
    default:
        return false;
    }
}

bool transfer_scalars(lua_State *from, int first, int count, lua_State *to)
{
    for (int i = 0; i < count; i++) {
        if (push_scalar(from, first + i, to))
            continue;
        lua_pop(to, i);
        return false;
    }
    return true;
}

void transfer_value(struct transfer *t, int index)
{
    lua_State *from = t->from, *to = t->to;

    luaL_checkstack(to, 8, "crossing between plugins");
    if (!lua_checkstack(from, 8))
        luaL_error(to, "stack overflow while crossing between plugins");
    if (push_scalar(from, index, to))
        return;
    switch (lua_type(from, index)) {
    case LUA_TTABLE:
        transfer_table(t, index);
        break;
    case LUA_TFUNCTION:
    case LUA_TUSERDATA:
        t->reference(t, index);
        break;
    default:
        luaL_error(to, "a %s cannot cross between plugins",
                   lua_typename(from, lua_type(from, index)));
    }
}
