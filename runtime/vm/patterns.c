#include "vm/patterns.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "vm/pattern.h"

static struct match begin(lua_State *L, const char *subject, size_t len)
{
    struct match m;

    m.L = L;
    m.begin = subject;
    m.end = subject + len;
    m.steps = 1 << 16;
    return m; /* the captures need not be set */
}

/* --- captures --- */

/* Pushes capture `i`, the whole match for the first of none. */
static void push_capture(struct match *m, int i, const char *from, const char *to)
{
    const struct capture *capture = &m->captures[i];

    if (i >= m->level) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index");
        lua_pushlstring(m->L, from, (size_t)(to - from));
    } else if (capture->len == CAPTURE_POSITION) {
        lua_pushinteger(m->L, capture->at - m->begin + 1);
    } else {
        if (capture->len == CAPTURE_OPEN)
            luaL_error(m->L, "unfinished capture");
        lua_pushlstring(m->L, capture->at, (size_t)capture->len);
    }
}

static int push_captures(struct match *m, const char *from, const char *to)
{
    const int count = m->level == 0 && from ? 1 : m->level;

    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, from, to);
    return count;
}

/* --- find and match --- */

/* Argument 3 as an offset into the subject. */
static size_t start_offset(lua_State *L, size_t len)
{
    ptrdiff_t start = luaL_optinteger(L, 3, 1);

    if (start < 0)
        start += (ptrdiff_t)len;
    else
        start--;
    if (start < 0)
        return 0;
    return (size_t)start < len ? (size_t)start : len;
}

/* memmem() is linear whatever it is given, but slow to begin: a few tries come first. */
static const char *find_text(const char *at, size_t len, const char *wanted, size_t wanted_len)
{
    if (wanted_len == 0)
        return at;
    for (int tries = 0; tries < 16 && len >= wanted_len; tries++) {
        const char *first = memchr(at, *wanted, len - wanted_len + 1);
        if (!first || memcmp(first, wanted, wanted_len) == 0)
            return first;
        len -= (size_t)(first + 1 - at);
        at = first + 1;
    }
    return memmem(at, len, wanted, wanted_len);
}

static int find_plain(lua_State *L, const char *subject, size_t len, size_t offset)
{
    size_t wanted_len;
    const char *wanted = lua_tolstring(L, 2, &wanted_len);
    const char *found = find_text(subject + offset, len - offset, wanted, wanted_len);

    if (!found) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - subject + 1);
    lua_pushinteger(L, found - subject + (ptrdiff_t)wanted_len);
    return 2;
}

/* The character that every match begins with; or -1. */
static int first_character(const char *pattern)
{
    const bool escaped = *pattern == '%';
    const char first = pattern[escaped];

    if (escaped ? !ispunct((unsigned char)first) : strchr("^$.[()", first) != NULL)
        return -1; /* the end of the pattern too */
    return strchr("*?-", pattern[escaped + 1]) && pattern[escaped + 1] ? -1 : (unsigned char)first;
}

static int search(lua_State *L, const char *subject, size_t len, size_t offset, bool find)
{
    const char *pattern = lua_tostring(L, 2);
    const bool anchored = *pattern == '^';
    struct match m = begin(L, subject, len);
    const int first = anchored ? -1 : first_character(pattern);
    const char *at = subject + offset;

    do {
        const char *end;
        if (first >= 0 && !(at = memchr(at, first, (size_t)(m.end - at))))
            break;
        end = pattern_match(&m, at, pattern + anchored);
        if (!end)
            continue;
        if (!find)
            return push_captures(&m, at, end);
        lua_pushinteger(L, at - subject + 1);
        lua_pushinteger(L, end - subject);
        return 2 + push_captures(&m, NULL, NULL);
    } while (at++ < m.end && !anchored);
    lua_pushnil(L);
    return 1;
}

static int string_find(lua_State *L)
{
    size_t len, pattern_len;
    const char *subject = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    const size_t offset = start_offset(L, len);

    if (lua_toboolean(L, 4) || pattern_is_plain(pattern, pattern_len))
        return find_plain(L, subject, len, offset);
    return search(L, subject, len, offset, true);
}

static int string_match(lua_State *L)
{
    size_t len;
    const char *subject = luaL_checklstring(L, 1, &len);

    luaL_checkstring(L, 2);
    return search(L, subject, len, start_offset(L, len), false);
}

/* --- gmatch --- */

/* upvalues: subject pattern offset */
static int next_match(lua_State *L)
{
    size_t len;
    const char *subject = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *pattern = lua_tostring(L, lua_upvalueindex(2));
    struct match m = begin(L, subject, len);

    for (const char *at = subject + lua_tointeger(L, lua_upvalueindex(3)); at <= m.end; at++) {
        const char *end = pattern_match(&m, at, pattern);
        if (!end)
            continue;
        /* An empty match must not be found again. */
        lua_pushinteger(L, end - subject + (end == at));
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&m, at, end);
    }
    return 0;
}

static int string_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* --- gsub --- */

/* The replacement string with its "%1" filled in. */
static void add_text(struct match *m, luaL_Buffer *out, const char *from, const char *to)
{
    size_t len;
    const char *text = lua_tolstring(m->L, 3, &len);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            luaL_addchar(out, text[i]);
            continue;
        }
        i++;
        if (text[i] < '0' || text[i] > '9') {
            luaL_addchar(out, text[i]);
        } else if (text[i] == '0') {
            luaL_addlstring(out, from, (size_t)(to - from));
        } else {
            push_capture(m, text[i] - '1', from, to);
            luaL_addvalue(out);
        }
    }
}

/* What the replacing function or table has for the match; the match itself for false and nil. */
static void add_result(struct match *m, luaL_Buffer *out, const char *from, const char *to)
{
    lua_State *L = m->L;

    if (lua_type(L, 3) == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, from, to), 1);
    } else {
        push_capture(m, 0, from, to);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, from, (size_t)(to - from));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    luaL_addvalue(out);
}

static void add_replacement(struct match *m, luaL_Buffer *out, const char *from, const char *to)
{
    if (lua_isstring(m->L, 3))
        add_text(m, out, from, to);
    else
        add_result(m, out, from, to);
}

static void check_replacement(lua_State *L)
{
    const int type = lua_type(L, 3);

    if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TTABLE && type != LUA_TFUNCTION)
        luaL_typerror(L, 3, "string/function/table");
}

static int string_gsub(lua_State *L)
{
    size_t len;
    const char *at = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checkstring(L, 2);
    const bool anchored = *pattern == '^';
    struct match m = begin(L, at, len);
    lua_Integer most, count = 0;
    luaL_Buffer out;

    check_replacement(L);
    most = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    luaL_buffinit(L, &out);
    while (count < most) {
        const char *end = pattern_match(&m, at, pattern + anchored);
        if (end) {
            count++;
            add_replacement(&m, &out, at, end);
        }
        if (end && end > at)
            at = end;
        else if (at < m.end)
            luaL_addchar(&out, *at++);
        else
            break;
        if (anchored)
            break;
    }
    luaL_addlstring(&out, at, (size_t)(m.end - at));
    luaL_pushresult(&out);
    lua_pushinteger(L, count);
    return 2;
}

void patterns_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", string_find},
        {"match", string_match},
        {"gmatch", string_gmatch},
        {"gsub", string_gsub},
        {NULL, NULL},
    };

    luaL_register(L, "string", functions);
    lua_pop(L, 1);
}
