/* string.find, match, gmatch and gsub of vm/patterns.c against LuaJIT's own: the same results and
 * the same errors, for cases by hand and for many made at random.
 */
#include <time.h>

#include <lauxlib.h>
#include <lualib.h>

#include "vm/patterns.h"

#include "check.h"

enum { ROUNDS = 60000 };

static lua_State *theirs, *ours;

/* Each sees subject and pattern as s and p. */
static const char *const calls[] = {
    "return s:find(p)",
    "return s:find(p, 3)",
    "return s:find(p, -2)",
    "return s:find(p, 99)",
    "return s:find(p, 1, true)",
    "return s:match(p)",
    "return s:match(p, 2)",
    "return s:match(p, 99)",
    ("local t = {} for a, b, c in s:gmatch(p) do t[#t + 1] = tostring(a) .. tostring(b) .. "
     "tostring(c) end return table.concat(t, '|')"),
    "return s:gsub(p, 'x')",
    "return s:gsub(p, '<%0|%1>')",
    "return s:gsub(p, '%2%%%a')",
    "return s:gsub(p, 'y', 1)",
    "return s:gsub(p, 'y', -1)",
    "return s:gsub(p, {a = 'A', b = false, [1] = 2})",
    "return s:gsub(p, function(a, b) return b and a .. b end)",
    "return s:gsub(p, function() return {} end)",
    "return s:gsub(p, 7)",
    "return s:gsub(p, '%')",
};

static const char *const cases[][2] = {
    {"hello world", "o w"},
    {"hello world", "(%w+) (%w+)"},
    {"  trim me  ", "^%s*(.-)%s*$"},
    {"key = value", "^(%w+)%s*=%s*(%w+)$"},
    {"f(a(b)c)d", "%b()"},
    {"THE (quick) fox", "%f[%a]%a+"},
    {"THE (quick) fox", "%f[%a]"},
    {"abcabc", "(a)(b)%1"},
    {"aXbXc", "()X()"},
    {"", ""},
    {"", "."},
    {"", "^$"},
    {"a\0b", "a%zb"},
    {"[x]", "[]x]+"},
    {"a-z", "[a%-z]+"},
    {"a]b", "[^]]+"},
    {"x^y", "[x^]+"},
    {"$5", "$%d$"},
    {"a$b", "a$b"},
    {"^a", "^^a"},
    {"aaa", "^a"},
    {"aaa", "a-$"},
    {"\xff\x80z", "[\x80-\xff]+"},
    {"x", "["},
    {"x", "[a"},
    {"x", "[]"},
    {"x", "[^]"},
    {"x", "[%"},
    {"x", "%"},
    {"x", "x%"},
    {"x", "%b"},
    {"x", "%bx"},
    {"x", "%f"},
    {"x", "%fx"},
    {"x", "("},
    {"x", ")"},
    {"x", "(x"},
    {"x", "(()"},
    {"x", "%1"},
    {"xx", "(x)%2"},
    {"xx", "(x%1)"},
    {"xx", "()x%1"},
    {"x", "%0"},
    {"aaaa", "((((((((((((((((((((((((((((((((("},
    {"aaaa", "()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()"},
    {"a.b-c", "[.-c]+"},
    {"tab\there", "%c"},
    {"a b", "%S+"},
    {"ABC", "%U"},
    {"4F", "%x%X?"},
    {"!~ ", "%g+"},
    {"xAx", "%Z+"},
    {"%d", "%%d"},
    {"a*b", "a*b"},
    {"a+b", "%+"},
};

static const char setup[] =
    "local function all(ok, ...) local t = {ok and 'ok' or 'error'} for i = 1, select('#', ...) do "
    "t[#t + 1] = tostring((select(i, ...))) end return table.concat(t, '\\1') end "
    "function run(code, subject, pattern) local f = assert(loadstring(code, '=c')) "
    "setfenv(f, setmetatable({s = subject, p = pattern}, {__index = _G})) return all(pcall(f)) end";

static const char *run(lua_State *L, const char *call, const char *s, size_t s_len, const char *p)
{
    lua_settop(L, 0);
    lua_getglobal(L, "run");
    lua_pushstring(L, call);
    lua_pushlstring(L, s, s_len);
    lua_pushstring(L, p);
    if (lua_pcall(L, 3, 1, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
    return lua_tostring(L, -1);
}

static void compare(const char *s, size_t s_len, const char *p)
{
    for (size_t i = 0; i < LEN(calls); i++) {
        size_t a_len, b_len;
        run(theirs, calls[i], s, s_len, p);
        run(ours, calls[i], s, s_len, p);
        const char *a = lua_tolstring(theirs, -1, &a_len), *b = lua_tolstring(ours, -1, &b_len);
        if (a_len == b_len && memcmp(a, b, a_len) == 0)
            continue;
        fprintf(stderr, "%s with s=\"%.*s\" p=\"%s\":\n  LuaJIT: %s\n  ours: %s\n", calls[i],
                (int)s_len, s, p, a, b);
        exit(1);
    }
}

/* Pieces rather than letters: most of what they make is a pattern. */
static void random_text(const char *const *pieces, size_t count, int most, char *out)
{
    *out = '\0';
    for (int i = rand() % (most + 1); i > 0; i--)
        strcat(out, pieces[(size_t)rand() % count]);
}

static void test_random(void)
{
    static const char *const subjects[] = {"a", "b",  "ab", "X", "1", " ", "(",
                                           ")", "\t", "-",  "%", "]", "é", "aaa"};
    static const char *const patterns[] = {
        "a",  "b",  ".",      "%a",  "%d",  "%s",   "%w",     "[ab]", "[^a]", "[a-c]", "[%w_]",
        "*",  "+",  "-",      "?",   "(",   ")",    "()",     "(a)",  "(.-)", "%b()",  "%f[%w]",
        "^",  "$",  "%1",     "%2",  "%%",  "%S",   "[%]%-]", "[]]",  "X",    " ",     "(a*)",
        "%f", "%b", "[^%s]*", "a-b", "%u+", "(%w)", "é",      "%)",   "[",    "%",     "]"};
    char subject[128], pattern[128];

    srand(20250107);
    for (int i = 0; i < ROUNDS / (int)LEN(calls); i++) {
        random_text(subjects, LEN(subjects), 8, subject);
        random_text(patterns, LEN(patterns), 6, pattern);
        compare(subject, strlen(subject), pattern);
    }
}

static void test_deep(void)
{
    char pattern[1024] = "", subject[1024] = "";

    for (int i = 0; i < 250; i++) {
        strcat(pattern, "a?");
        strcat(subject, "a");
        if (i % 10 == 0 || (i > 190 && i < 210))
            compare(subject, strlen(subject), pattern);
    }
}

/* Ordinary calls, a second each way: for the figures, not for a verdict. */
static void measure(lua_State *L, const char *name)
{
    static const char code[] =
        "local n, t = 2e6, os.clock local function per(f) local a = t() for i = 1, n do f() end "
        "return (t() - a) / n * 1e9 end local s = 'GET /plugins/hello?x=1' "
        "return per(function() return s:find('hello', 1, true) end), "
        "per(function() return s:find('%?') end), "
        "per(function() return s:match('^/(%w+)') end), "
        "per(function() return s:match('^(%u+) ([^?]*)') end), "
        "per(function() return s:gsub('/', '.') end)";

    luaL_loadstring(L, "jit.off()");
    lua_call(L, 0, 0);
    luaL_loadstring(L, code);
    lua_call(L, 0, 5);
    printf("%s: plain %.0f, %%? %.0f, anchored %.0f, two captures %.0f, gsub %.0f ns\n", name,
           lua_tonumber(L, -5), lua_tonumber(L, -4), lua_tonumber(L, -3), lua_tonumber(L, -2),
           lua_tonumber(L, -1));
    lua_settop(L, 0);
}

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    luaL_loadstring(L, setup);
    lua_call(L, 0, 0);
    return L;
}

int main(int argc, char **argv)
{
    (void)argv;
    theirs = open_state();
    ours = open_state();
    patterns_open(ours);
    if (argc > 1) {
        measure(theirs, "LuaJIT");
        measure(ours, "ours");
        return 0;
    }
    for (size_t i = 0; i < LEN(cases); i++)
        compare(cases[i][0], strlen(cases[i][0]), cases[i][1]);
    compare("a\0b", 3, "a%zb");
    compare("a\0b", 3, ".-b");
    test_deep();
    test_random();
    lua_close(theirs);
    lua_close(ours);
    return 0;
}
