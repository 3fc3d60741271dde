#include "bind/json.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

#include "bind/json_codec.h"

enum {
    STACK_STEP = 16,   /* levels between two lua_checkstack() */
    SLOTS_A_LEVEL = 4, /* table, key, value, metatable */
    HINTS = 8,         /* depths told apart when guessing the size of a table */
    HINT_FIRST = 8,
    HINT_MAX = 1024,
    EXACT_DIGITS = 19, /* decimal digits that always fit 64 bits */
};

/* Each open container is on the Lua stack; an object has the key being read above it. */
struct reader {
    lua_State *L;
    struct json_codec *codec;
    const char *start, *at, *end;
    const char *quote;           /* that the string being read begins with */
    const char *problem, *place; /* set once, by fail() */
    int base;                    /* stack index of the outermost container */
    int depth;                   /* containers open */
    /* How large the last one at a depth was: the next is often alike. */
    int objects[HINTS], arrays[HINTS];
    int index[JSON_DEPTH_MAX + 1]; /* element being read; 0: an object, its key; -1: none yet */
};

static bool read_value(struct reader *r);

static bool fail(struct reader *r, const char *problem, const char *place)
{
    r->problem = problem;
    r->place = place;
    return false;
}

static inline void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

/* The next byte that is not space, or 0 at the end. A NUL in the text is as wrong as the end. */
static inline char peek(struct reader *r)
{
    if (r->at < r->end && (unsigned char)*r->at > ' ')
        return *r->at;
    skip_space(r);
    return r->at < r->end ? *r->at : '\0';
}

/* --- strings --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f')
        return (c | 32) - 'a' + 10;
    return -1;
}

/* Four hex digits; -1: they are not there. */
static long read_hex4(const char *at, const char *end)
{
    long n = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        n = n << 4 | digit;
    }
    return n;
}

static char *put_utf8(char *out, unsigned long c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 63));
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

/* At the "u" of an escape. NULL: failed. */
static char *read_unicode(struct reader *r, char *out)
{
    const char *escape = r->at - 1;
    long c = read_hex4(r->at + 1, r->end), low;

    if (c < 0)
        return fail(r, "\\u without four hex digits", escape), NULL;
    r->at += 5;
    if (c < 0xD800 || c > 0xDFFF)
        return put_utf8(out, (unsigned long)c);
    low = c < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u'
              ? read_hex4(r->at + 2, r->end)
              : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return fail(r, "half of a surrogate pair", escape), NULL;
    r->at += 6;
    return put_utf8(out,
                    0x10000 + ((unsigned long)(c - 0xD800) << 10) + (unsigned long)(low - 0xDC00));
}

/* At the byte after a backslash. NULL: failed. */
static char *read_escape(struct reader *r, char *out)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *known;

    if (r->at == r->end)
        return fail(r, "unfinished string", r->quote), NULL;
    if (*r->at == 'u')
        return read_unicode(r, out);
    known = *r->at ? strchr(plain, *r->at) : NULL;
    if (!known)
        return fail(r, "unknown escape", r->at - 1), NULL;
    *out = meant[known - plain];
    r->at++;
    return out + 1;
}

/* Skips plain bytes; the end is a place to stop as well. */
static inline const char *skip_ascii(const char *s, const char *end)
{
    uint64_t marks;

    for (; (size_t)(end - s) >= sizeof(uint64_t); s += sizeof(uint64_t)) {
        marks = json_marks(json_load(s));
        if (marks)
            return s + json_before(marks);
    }
    marks = s < end ? json_marks(json_load_tail(s, (size_t)(end - s))) : 0;
    return marks ? s + json_before(marks) : end;
}

/* Skips what needs no unescaping; stops at a quote or a backslash. */
static bool skip_plain(struct reader *r)
{
    const char *s = r->at;

    for (;;) {
        size_t step;

        s = skip_ascii(s, r->end);
        if (s == r->end)
            return fail(r, "unfinished string", r->quote);
        if (*s == '"' || *s == '\\')
            break;
        if ((unsigned char)*s < 0x20)
            return fail(r, "control character in a string", s);
        step = json_utf8(s, r->end);
        if (step == 0)
            return fail(r, "invalid UTF-8", s);
        s += step;
    }
    r->at = s;
    return true;
}

/* A string with escapes, put together in the codec's buffer. `r->at` is at the first backslash;
 * `start` is where the string's text begins. No escape is longer unescaped than escaped.
 */
static bool read_escaped(struct reader *r, const char *start)
{
    char *out = r->codec->data;

    for (;;) {
        const size_t run = (size_t)(r->at - start), used = (size_t)(out - r->codec->data);

        if (r->codec->cap < used + run + 4) {
            json_codec_grow(r->L, r->codec, 2 * (used + run) + 64);
            out = r->codec->data + used;
        }
        memcpy(out, start, run);
        out += run;
        if (*r->at++ == '"')
            break;
        out = read_escape(r, out);
        if (!out)
            return false;
        start = r->at;
        if (!skip_plain(r))
            return false;
    }
    lua_pushlstring(r->L, r->codec->data, (size_t)(out - r->codec->data));
    return true;
}

/* At the opening quote. Pushes the string. */
static bool read_string(struct reader *r)
{
    const char *start = r->at + 1;

    r->quote = r->at++;
    if (!skip_plain(r))
        return false;
    if (*r->at == '\\')
        return read_escaped(r, start);
    lua_pushlstring(r->L, start, (size_t)(r->at - start));
    r->at++;
    return true;
}

/* --- numbers --- */

struct number {
    uint64_t digits; /* all of them, as an integer */
    int count;       /* how many, leading zeros aside */
    int exponent;    /* of ten */
    bool negative, integer;
};

static inline bool is_digit(const struct reader *r)
{
    return r->at < r->end && (unsigned)(*r->at - '0') < 10;
}

static void read_digits(struct reader *r, struct number *n)
{
    for (; is_digit(r); r->at++) {
        n->digits = n->digits * 10 + (uint64_t)(*r->at - '0'); /* may wrap: see `count` */
        n->count += n->count > 0 || *r->at != '0';
    }
}

static bool read_exponent(struct reader *r, struct number *n)
{
    bool negative;
    int exponent = 0;

    r->at++;
    negative = r->at < r->end && *r->at == '-';
    r->at += negative || (r->at < r->end && *r->at == '+');
    if (!is_digit(r))
        return fail(r, "exponent without digits", r->at);
    for (; is_digit(r); r->at++) {
        if (exponent < 100000)
            exponent = exponent * 10 + (*r->at - '0');
    }
    n->exponent += negative ? -exponent : exponent;
    n->integer = false;
    return true;
}

static bool scan_number(struct reader *r, struct number *n)
{
    n->negative = *r->at == '-';
    r->at += n->negative;
    if (!is_digit(r))
        return fail(r, "expected a digit", r->at);
    if (*r->at == '0') {
        r->at++;
        if (is_digit(r))
            return fail(r, "number with a leading zero", r->at - 1);
    }
    read_digits(r, n);
    if (r->at < r->end && *r->at == '.') {
        const char *point = ++r->at;

        if (!is_digit(r))
            return fail(r, "expected a digit after the point", r->at);
        read_digits(r, n);
        n->exponent = (int)(point - r->at);
        n->integer = false;
    }
    if (r->at < r->end && (*r->at | 32) == 'e')
        return read_exponent(r, n);
    return true;
}

/* Digits below 2^53 and a power of ten up to 22 are exact doubles, so one multiplication or
 * division rounds correctly. The rest, which is rare, goes through strtod().
 */
static bool fast_double(const struct number *n, double *d)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

    if (n->count > EXACT_DIGITS || n->digits > UINT64_C(1) << 53)
        return false;
    if (n->exponent < -22 || n->exponent > 22)
        return false;
    *d = n->exponent < 0 ? (double)n->digits / powers[-n->exponent]
                         : (double)n->digits * powers[n->exponent];
    return true;
}

static double slow_double(struct reader *r, const char *start)
{
    const locale_t old = uselocale(r->codec->c_locale);
    double d;

    lua_pushlstring(r->L, start, (size_t)(r->at - start)); /* strtod() wants a NUL */
    d = strtod(lua_tostring(r->L, -1), NULL);
    uselocale(old);
    lua_pop(r->L, 1);
    return d;
}

static bool read_number(struct reader *r)
{
    const char *start = r->at;
    struct number n = {.integer = true};
    double d;

    if (!scan_number(r, &n))
        return false;
    if (fast_double(&n, &d))
        d = n.negative ? -d : d;
    else
        d = slow_double(r, start);
    if (isinf(d))
        return fail(r, "number out of range", start);
    lua_pushnumber(r->L, d);
    return true;
}

/* --- containers --- */

static bool enter(struct reader *r, int index)
{
    if (r->depth == JSON_DEPTH_MAX)
        return fail(r, "nested deeper than 1000", r->at);
    r->depth++;
    r->index[r->depth] = index;
    if (r->depth % STACK_STEP == 1 && !lua_checkstack(r->L, (STACK_STEP + 1) * SLOTS_A_LEVEL))
        return fail(r, "nested too deep for the stack that is left", r->at);
    r->at++;
    return true;
}

/* At the closing bracket. */
static bool leave(struct reader *r)
{
    r->at++;
    r->depth--;
    return true;
}

static bool leave_array(struct reader *r)
{
    lua_rawgeti(r->L, LUA_REGISTRYINDEX, r->codec->array_ref);
    lua_setmetatable(r->L, -2);
    return leave(r);
}

static inline bool is_comma(struct reader *r)
{
    if (peek(r) != ',')
        return false;
    r->at++;
    return true;
}

static bool read_entry(struct reader *r)
{
    if (peek(r) != '"')
        return fail(r, "expected a key in quotes", r->at);
    r->index[r->depth] = -1; /* the path ends before a key that is only being read */
    if (!read_string(r))
        return false;
    r->index[r->depth] = 0;
    if (peek(r) != ':')
        return fail(r, "expected ':' after a key", r->at);
    r->at++;
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
        return fail(r, "expected ',' or '}'", r->at);
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
        return fail(r, "expected ',' or ']'", r->at);
    *hint = count < HINT_MAX ? count : HINT_MAX;
    return leave_array(r);
}

/* --- values --- */

static bool read_word(struct reader *r, const char *word, size_t len)
{
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
        return fail(r, "expected a value", r->at);
    r->at += len;
    return true;
}

static bool read_value(struct reader *r)
{
    switch (peek(r)) {
    case '"':
        return read_string(r);
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
        return read_number(r);
    default:
        if (is_digit(r))
            return read_number(r);
        return fail(r, r->at < r->end ? "expected a value" : "unexpected end", r->at);
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

    for (const char *s = r->start; s < r->place; s++) {
        if (*s == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*s & 0xC0) != 0x80) {
            column++; /* characters, not bytes */
        }
    }
    path_of(r, &path);
    lua_pushfstring(r->L, "json.decode: %s%s at line %d, column %d", json_path_prefix(&path),
                    r->problem, line, column);
}

bool json_decode_value(lua_State *L, struct str text)
{
    struct reader r; /* `index` is not cleared: only what is open is read */
    bool ok;

    luaL_checkstack(L, 2 * SLOTS_A_LEVEL, "json.decode");
    r.L = L;
    r.codec = json_codec_begin(L);
    r.start = r.at = text.at;
    r.end = text.at + text.len;
    r.problem = NULL;
    r.base = lua_gettop(L) + 1;
    r.depth = 0;
    for (int i = 0; i < HINTS; i++)
        r.objects[i] = r.arrays[i] = HINT_FIRST;
    ok = read_value(&r);
    skip_space(&r);
    if (ok && r.at < r.end)
        ok = fail(&r, "text after the value", r.at);
    if (ok)
        return true;
    push_problem(&r);
    lua_insert(L, r.base); /* what was being built is above it now */
    lua_settop(L, r.base);
    return false;
}
