/* Making the tables of the control plane: fields of the table on top of the stack, lists that are
 * JSON arrays, and text of anybody, as UTF-8 with the secrets masked. These raise when the VM's
 * memory is spent.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"
#include "bind/json.h"

/* Pushes the text with U+FFFD for what is not UTF-8: messages hold bytes of anybody, and may be cut
 * in the middle of a character.
 */
static inline void push_clean(lua_State *L, const char *text)
{
    const size_t size = strlen(text);
    char *masked = lua_newuserdata(L, size + 1); /* m */
    struct str s = {masked, 0};
    luaL_Buffer out;

    memcpy(masked, text, size + 1);
    log_mask(masked);
    s.len = strlen(masked);
    luaL_buffinit(L, &out);
    while (s.len > 0) {
        bool valid;
        const size_t step = utf8_next(s.at, s.len, &valid);
        if (valid)
            luaL_addlstring(&out, s.at, step);
        else
            luaL_addstring(&out, "\xEF\xBF\xBD");
        s.at += step;
        s.len -= step;
    }
    luaL_pushresult(&out); /* m text */
    lua_remove(L, -2);
}

static inline void push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL); /* json.null */
}

static inline void set_null(lua_State *L, const char *key)
{
    push_null(L);
    lua_setfield(L, -2, key);
}

/* NULL and "" are null. */
static inline void set_text(lua_State *L, const char *key, const char *text)
{
    if (text && *text)
        push_clean(L, text);
    else
        push_null(L);
    lua_setfield(L, -2, key);
}

static inline void set_number(lua_State *L, const char *key, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, key);
}

static inline void set_flag(lua_State *L, const char *key, bool flag)
{
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, key);
}

static inline void new_list(lua_State *L)
{
    lua_newtable(L);
    json_mark_array(L, -1);
}

/* Takes the value on top to the end of the list below it. */
static inline void append(lua_State *L)
{
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

static inline void set_line(lua_State *L, unsigned line)
{
    if (line)
        set_number(L, "line", line);
    else
        set_null(L, "line");
}

static inline void set_err(lua_State *L, const struct err *err)
{
    if (!err) {
        set_null(L, "error");
        return;
    }
    lua_createtable(L, 0, 5);
    set_text(L, "code", err->code);
    set_text(L, "message", err->message);
    set_text(L, "file", err->file);
    set_line(L, err->line);
    set_text(L, "traceback", err->traceback);
    lua_setfield(L, -2, "error");
}
