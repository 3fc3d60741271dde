#include "bind/json.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "bind/json_codec.h"
#include "bind/json_word.h"

enum {
    STACK_STEP = 16,   /* levels between two lua_checkstack() */
    SLOTS_A_LEVEL = 4, /* table, key, value, metatable */
    HINTS = 8,         /* depths told apart when guessing the size of a table */
    HINT_FIRST = 8,
    HINT_MAX = 1024,
    KEPT_FROM = 512, /* bytes of a text in which keys are kept */
    KEY_BITS = 5,
    KEYS = 1 << KEY_BITS,
    KEY_TRIES = 64, /* new keys in excess of known ones, before no more are kept */
};

/* Each open container is on the Lua stack; an object has the key being read above it. */
struct reader {
    struct json_in in;
    lua_State *L;
    int base; /* stack index of the outermost container */
    int keys; /* that of the first of KEYS slots, with keys of up to eight bytes that were read */
    int tries;
    uint64_t known[KEYS]; /* the bytes of these */
    int depth;            /* containers open */
    /* How large the last one at a depth was: the next is often alike. */
    int objects[HINTS], arrays[HINTS];
    int index[JSON_DEPTH_MAX + 1]; /* element being read; 0: an object, its key; -1: none yet */
};

static bool read_value(struct reader *r);

static inline bool fail(struct reader *r, const char *problem)
{
    return json_fail(&r->in, problem, r->in.at);
}

static inline void skip_space(struct reader *r)
{
    while (r->in.at < r->in.end &&
           (*r->in.at == ' ' || *r->in.at == '\n' || *r->in.at == '\t' || *r->in.at == '\r'))
        r->in.at++;
}

/* The next byte that is not space, or 0 at the end. A NUL in the text is as wrong as the end. */
static inline char peek(struct reader *r)
{
    if (r->in.at < r->in.end && (unsigned char)*r->in.at > ' ')
        return *r->in.at;
    skip_space(r);
    return r->in.at < r->in.end ? *r->in.at : '\0';
}

/* --- containers --- */

static bool enter(struct reader *r, int index)
{
    if (r->depth == JSON_DEPTH_MAX)
        return fail(r, "nested deeper than 1000");
    r->depth++;
    r->index[r->depth] = index;
    if (r->depth % STACK_STEP == 1 && !lua_checkstack(r->L, (STACK_STEP + 1) * SLOTS_A_LEVEL))
        return fail(r, "nested too deep for the stack that is left");
    r->in.at++;
    return true;
}

/* At the closing bracket. */
static bool leave(struct reader *r)
{
    r->in.at++;
    r->depth--;
    return true;
}

static bool leave_array(struct reader *r)
{
    lua_rawgeti(r->L, LUA_REGISTRYINDEX, r->in.codec->array_ref);
    lua_setmetatable(r->L, -2);
    return leave(r);
}

static inline bool is_comma(struct reader *r)
{
    if (peek(r) != ',')
        return false;
    r->in.at++;
    return true;
}

/* The same few keys come again and again in a list of objects: a copy of the stack's is cheaper
 * than finding the string once more.
 */
static void push_key(struct reader *r, const char *at, size_t len, uint64_t word)
{
    const unsigned slot = (unsigned)(word * UINT64_C(0x9E3779B97F4A7C15) >> (64 - KEY_BITS));

    if (r->known[slot] == word) {
        lua_pushvalue(r->L, r->keys + (int)slot);
        r->tries++;
        return;
    }
    lua_pushlstring(r->L, at, len);
    lua_pushvalue(r->L, -1);
    lua_replace(r->L, r->keys + (int)slot);
    r->known[slot] = word;
    r->tries--;
}

/* At the opening quote. Pushes the key. */
static bool read_key(struct reader *r)
{
    const char *at = r->in.at + 1;
    uint64_t word, marks;
    size_t len;

    if (r->tries == 0 || r->in.end - at <= (ptrdiff_t)sizeof(word))
        return json_read_string(&r->in);
    word = json_load8(at);
    marks = json_marks(word);
    len = marks ? json_before(marks) : sizeof(word);
    if (len == 0 || at[len] != '"')
        return json_read_string(&r->in);
    if (marks)
        word &= (UINT64_C(1) << 8 * len) - 1;
    push_key(r, at, len, word);
    r->in.at = at + len + 1;
    return true;
}

static bool read_entry(struct reader *r)
{
    if (peek(r) != '"')
        return fail(r, "expected a key in quotes");
    r->index[r->depth] = -1; /* the path ends before a key that is only being read */
    if (!read_key(r))
        return false;
    r->index[r->depth] = 0;
    if (peek(r) != ':')
        return fail(r, "expected ':' after a key");
    r->in.at++;
    if (!read_value(r))
        return false;
    lua_rawset(r->L, -3); /* a key that comes twice: the last value stays */
    return true;
}

static bool read_object(struct reader *r)
{
    int *hint, count = 0;

    if (!enter(r, -1))
        return false;
    hint = &r->objects[r->depth < HINTS ? r->depth : HINTS - 1];
    if (peek(r) == '}') {
        lua_newtable(r->L);
        return leave(r);
    }
    lua_createtable(r->L, 0, *hint);
    do {
        if (!read_entry(r))
            return false;
        count++;
        r->index[r->depth] = -1;
    } while (is_comma(r));
    if (peek(r) != '}')
        return fail(r, "expected ',' or '}'");
    *hint = count < HINT_MAX ? count : HINT_MAX;
    return leave(r);
}

static bool read_array(struct reader *r)
{
    int *hint, count = 0;

    if (!enter(r, 1))
        return false;
    hint = &r->arrays[r->depth < HINTS ? r->depth : HINTS - 1];
    if (peek(r) == ']') {
        lua_newtable(r->L);
        return leave_array(r);
    }
    lua_createtable(r->L, *hint, 0);
    do {
        r->index[r->depth] = ++count;
        if (!read_value(r))
            return false;
        lua_rawseti(r->L, -2, count);
    } while (is_comma(r));
    if (peek(r) != ']')
        return fail(r, "expected ',' or ']'");
    *hint = count < HINT_MAX ? count : HINT_MAX;
    return leave_array(r);
}

/* --- values --- */

static bool read_word(struct reader *r, const char *word, size_t len)
{
    if ((size_t)(r->in.end - r->in.at) < len || memcmp(r->in.at, word, len) != 0)
        return fail(r, "expected a value");
    r->in.at += len;
    return true;
}

static bool read_value(struct reader *r)
{
    switch (peek(r)) {
    case '"':
        return json_read_string(&r->in);
    case '{':
        return read_object(r);
    case '[':
        return read_array(r);
    case 't':
        lua_pushboolean(r->L, true);
        return read_word(r, "true", 4);
    case 'f':
        lua_pushboolean(r->L, false);
        return read_word(r, "false", 5);
    case 'n':
        lua_pushlightuserdata(r->L, NULL);
        return read_word(r, "null", 4);
    case '-':
        return json_read_number(&r->in);
    default:
        if (json_at_digit(&r->in))
            return json_read_number(&r->in);
        return fail(r, r->in.at < r->in.end ? "expected a value" : "unexpected end");
    }
}

/* --- the message --- */

static void path_of(const struct reader *r, struct json_path *path)
{
    int slot = r->base;

    for (int level = 1; level <= r->depth && r->index[level] >= 0; level++, slot++) {
        if (r->index[level] > 0) {
            json_path_index(path, r->index[level]);
        } else {
            size_t len;
            const char *key = lua_tolstring(r->L, ++slot, &len);
            json_path_key(path, key, len);
        }
    }
}

static void push_problem(const struct reader *r)
{
    struct json_path path = {.len = 0};
    int line = 1, column = 1;

    for (const char *s = r->in.start; s < r->in.place; s++) {
        if (*s == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*s & 0xC0) != 0x80) {
            column++; /* characters, not bytes */
        }
    }
    path_of(r, &path);
    lua_pushfstring(r->L, "json.decode: %s%s at line %d, column %d", json_path_prefix(&path),
                    r->in.problem, line, column);
}

static void keep_keys(struct reader *r, int count)
{
    r->keys = lua_gettop(r->L) + 1;
    r->base = r->keys + count;
    r->tries = count ? KEY_TRIES : 0;
    if (count) {
        lua_settop(r->L, r->base - 1);
        memset(r->known, 0, sizeof(r->known));
    }
}

bool json_decode_value(lua_State *L, struct str text)
{
    struct reader r; /* `index` is not cleared: only what is open is read */
    bool ok;

    luaL_checkstack(L, KEYS + 2 * SLOTS_A_LEVEL, "json.decode");
    r.L = L;
    r.in = (struct json_in){.L = L, .start = text.at, .at = text.at, .end = text.at + text.len};
    r.in.codec = json_codec(L);
    keep_keys(&r, text.len >= KEPT_FROM ? KEYS : 0);
    r.depth = 0;
    for (int i = 0; i < HINTS; i++)
        r.objects[i] = r.arrays[i] = HINT_FIRST;
    ok = read_value(&r);
    skip_space(&r);
    if (ok && r.in.at < r.in.end)
        ok = fail(&r, "text after the value");
    if (!ok)
        push_problem(&r);
    lua_insert(L, r.keys);
    lua_settop(L, r.keys); /* the keys go, and what was being built */
    return ok;
}
