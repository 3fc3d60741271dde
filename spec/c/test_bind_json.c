#include "bind/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bind/bind.h"

#include "check.h"

/* Encoding a Lua expression gives this text, or raises with this message. */
static const struct {
    const char *value, *want;
} encodes[] = {
    {"nil", "null"},
    {"json.null", "null"},
    {"true", "true"},
    {"{}", "{}"},
    {"json.array()", "[]"},
    {"json.array({})", "[]"},
    {"json.empty_array", "[]"},
    {"{ {}, json.array() }", "[{},[]]"},
    {"{ 1, 2, 3 }", "[1,2,3]"},
    {"(function() local t = {} for i = 9, 1, -1 do t[i] = i end return t end)()",
     "[1,2,3,4,5,6,7,8,9]"},
    {"{ x = 1 }", "{\"x\":1}"},
    {"{ [2024] = 1 }", "{\"2024\":1}"},
    {"{ [0] = 1 }", "{\"0\":1}"},
    {"{ [1.5] = 1 }", "{\"1.5\":1}"},
    {"setmetatable({}, { __index = { 1 }, __tostring = error })", "{}"},
    {"'a\"\\\\/\\b\\f\\n\\r\\t\\1\\31\\127'", "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
    {"'\\0'", "\"\\u0000\""},
    {"'abcdefg\"hijklmno\"'", "\"abcdefg\\\"hijklmno\\\"\""},
    {"'a é 漢 😀 z'", "\"a é 漢 😀 z\""},
    /* numbers */
    {"0", "0"},
    {"-0", "-0"},
    {"-1", "-1"},
    {"2^53", "9007199254740992"},
    {"-2^53", "-9007199254740992"},
    {"2^53 - 1", "9007199254740991"},
    {"1e15", "1000000000000000"},
    {"1e16", "1e+16"},
    {"0.1", "0.1"},
    {"-19.9", "-19.9"},
    {"412.35", "412.35"},
    {"0.1 + 0.2", "0.30000000000000004"},
    {"1 / 3", "0.3333333333333333"},
    {"123456789.125", "123456789.125"},
    {"1e-7", "1e-07"},
    {"1.7976931348623157e308", "1.7976931348623157e+308"},
    {"1234567890123456789LL", "1234567890123456789"},
    {"-9223372036854775807LL", "-9223372036854775807"},
    {"18446744073709551615ULL", "18446744073709551615"},
    /* what cannot be written */
    {"{ a = { b = { 1, 2, 0/0 } } }", "!json.encode: a.b[3]: number is NaN"},
    {"0/0", "!json.encode: number is NaN"},
    {"{ -1/0 }", "!json.encode: [1]: number is infinite"},
    {"{ a = '\\255' }", "!json.encode: a: string is not valid UTF-8"},
    {"'abcdefghij\\237\\160\\128'", "!json.encode: string is not valid UTF-8"},
    {"'\\192\\175'", "!json.encode: string is not valid UTF-8"},
    {"'\\244\\144\\128\\128'", "!json.encode: string is not valid UTF-8"},
    {"'a\\226\\130'", "!json.encode: string is not valid UTF-8"},
    {"{ x = { ['\\255 y'] = 1 } }", "!json.encode: x[\"\\xff y\"]: the key is not valid UTF-8"},
    {"{ a = print }", "!json.encode: a: cannot encode a function"},
    {"{ ['a-b'] = io.stdout }", "!json.encode: [\"a-b\"]: cannot encode a userdata"},
    {"{ a = ffi.new('int[2]') }", "!json.encode: a: cannot encode a cdata"},
    {"{ 1, x = 2 }", "!json.encode: mixed keys: the table has strings and numbers"},
    {"{ x = 1, [5] = 2 }", "!json.encode: mixed keys: the table has strings and numbers"},
    {"{ a = { [1] = 1, [3] = 3 } }",
     "!json.encode: a: sparse array: 2 elements, but the last index is 3"},
    {"json.array({ [2] = 1 })", "!json.encode: sparse array: 1 elements, but the last index is 2"},
    {"json.array({ x = 1 })", "!json.encode: an array has the key \"x\""},
    {"{ [true] = 1 }", "!json.encode: a key is a boolean"},
    {"{ [{}] = 1 }", "!json.encode: a key is a table"},
    {"{ [1/0] = 1 }", "!json.encode: a key is infinite"},
    {"(function() local t = { a = {} } t.a.b = t return t end)()",
     "!json.encode: a.b.a: the table contains itself"},
    {"(function() local t = {} t[1] = t return { t } end)()",
     "!json.encode: [1][1]: the table contains itself"},
    {"setmetatable({ ffi.metatype('struct { int x; }', { __tostring = function() return "
     "json.encode({}) end })() }, nil)",
     "!json.encode: [1]: cannot encode a cdata"},
};

/* Decoding a text and encoding the value gives this text, or fails with this message. */
static const struct {
    const char *text, *want;
} decodes[] = {
    {"[]", "[]"},
    {"{}", "{}"},
    {" \t\r\n[ [ ] , { } ] ", "[[],{}]"},
    {"[[],[[]],{\"a\":[]}]", "[[],[[]],{\"a\":[]}]"},
    {"null", "null"},
    {"[null,true,false]", "[null,true,false]"},
    {"{\"a\":null}", "{\"a\":null}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u6f22\"", "\"\\\"\\\\/\\b\\f\\n\\r\\tAé漢\""},
    {"\"\\u0000\"", "\"\\u0000\""},
    {"\"\\ud83d\\ude00\\uD83D\\uDE00\"", "\"😀😀\""},
    {"\"a long text, then \\n an escape \\u00e9\"", "\"a long text, then \\n an escape é\""},
    {"0", "0"},
    {"-0", "-0"},
    {"-0.0", "-0"},
    {"0.000", "0"},
    {"1e5", "100000"},
    {"1E+2", "100"},
    {"12.5e-1", "1.25"},
    {"9007199254740992", "9007199254740992"},
    {"0.30000000000000004", "0.30000000000000004"},
    {"123456789012345678901234567890", "1.2345678901234568e+29"},
    {"18446744073709551617", "1.8446744073709552e+19"},
    {"0.00000000000000000000000000000000000000000000000000000000000001", "1e-62"},
    {"1e-400", "0"},
    /* what is not JSON */
    {"", "!json.decode: unexpected end at line 1, column 1"},
    {" ", "!json.decode: unexpected end at line 1, column 2"},
    {"{", "!json.decode: expected a key in quotes at line 1, column 2"},
    {"[1,2", "!json.decode: [2]: expected ',' or ']' at line 1, column 5"},
    {"[1,]", "!json.decode: [2]: expected a value at line 1, column 4"},
    {"[1 2]", "!json.decode: [1]: expected ',' or ']' at line 1, column 4"},
    {"[,1]", "!json.decode: [1]: expected a value at line 1, column 2"},
    {"{\"a\":1,}", "!json.decode: expected a key in quotes at line 1, column 8"},
    {"{\"a\" 1}", "!json.decode: a: expected ':' after a key at line 1, column 6"},
    {"{\"a\":1 \"b\":2}", "!json.decode: expected ',' or '}' at line 1, column 8"},
    {"{a:1}", "!json.decode: expected a key in quotes at line 1, column 2"},
    {"{\"a\":\n {\"b\":[1,\n  tru]}}",
     "!json.decode: a.b[2]: expected a value at line 3, column 3"},
    {"{\"é漢\": x}",
     "!json.decode: [\"\\xc3\\xa9\\xe6\\xbc\\xa2\"]: expected a value at line 1, column 8"},
    {"1 2", "!json.decode: text after the value at line 1, column 3"},
    {"[]]", "!json.decode: text after the value at line 1, column 3"},
    {"NaN", "!json.decode: expected a value at line 1, column 1"},
    {"-Infinity", "!json.decode: expected a digit at line 1, column 2"},
    {"+1", "!json.decode: expected a value at line 1, column 1"},
    {"01", "!json.decode: number with a leading zero at line 1, column 1"},
    {"-", "!json.decode: expected a digit at line 1, column 2"},
    {".5", "!json.decode: expected a value at line 1, column 1"},
    {"1.", "!json.decode: expected a digit after the point at line 1, column 3"},
    {"1.e5", "!json.decode: expected a digit after the point at line 1, column 3"},
    {"1e", "!json.decode: exponent without digits at line 1, column 3"},
    {"1e+", "!json.decode: exponent without digits at line 1, column 4"},
    {"0x10", "!json.decode: text after the value at line 1, column 2"},
    {"[1e400]", "!json.decode: [1]: number out of range at line 1, column 2"},
    {"1e99999999999", "!json.decode: number out of range at line 1, column 1"},
    {"'a'", "!json.decode: expected a value at line 1, column 1"},
    {"\"abc", "!json.decode: unfinished string at line 1, column 1"},
    {"\"abc\\", "!json.decode: unfinished string at line 1, column 1"},
    {"\"abc\\n", "!json.decode: unfinished string at line 1, column 1"},
    {"\"a\nb\"", "!json.decode: control character in a string at line 1, column 3"},
    {"\"a\tb\"", "!json.decode: control character in a string at line 1, column 3"},
    {"\"\\x41\"", "!json.decode: unknown escape at line 1, column 2"},
    {"\"\\u12g4\"", "!json.decode: \\u without four hex digits at line 1, column 2"},
    {"\"\\u12\"", "!json.decode: \\u without four hex digits at line 1, column 2"},
    {"{\"a\":[\"\\ud83d\"]}", "!json.decode: a[1]: half of a surrogate pair at line 1, column 8"},
    {"\"\\ud83d\\u0041\"", "!json.decode: half of a surrogate pair at line 1, column 2"},
    {"\"\\ude00\\ud83d\"", "!json.decode: half of a surrogate pair at line 1, column 2"},
    {"{\"a\":[0,\"b\xff\"]}", "!json.decode: a[2]: invalid UTF-8 at line 1, column 11"},
    {"[\"\xed\xa0\x80\"]", "!json.decode: [1]: invalid UTF-8 at line 1, column 3"},
    {"[\"\xc0\xaf\"]", "!json.decode: [1]: invalid UTF-8 at line 1, column 3"},
    {"\"\xf4\x90\x80\x80\"", "!json.decode: invalid UTF-8 at line 1, column 2"},
    {"\"\xe2\x82", "!json.decode: invalid UTF-8 at line 1, column 2"},
    {"{\"a\":{\"\xff\":1}}", "!json.decode: a: invalid UTF-8 at line 1, column 8"},
    {"\xef\xbb\xbf{}", "!json.decode: expected a value at line 1, column 1"},
    {"[1] // no", "!json.decode: text after the value at line 1, column 5"},
};

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    lua_pushcfunction(L, bind_json_open);
    lua_call(L, 0, 1);
    lua_setglobal(L, "json");
    CHECK(luaL_dostring(L, "ffi = require 'ffi'") == 0);
    return L;
}

/* Runs `code` with `text` as its argument; the result or the error is on top. */
static bool run(lua_State *L, const char *code, const char *text, size_t len)
{
    CHECK(luaL_loadstring(L, code) == 0);
    lua_pushlstring(L, text, len);
    return lua_pcall(L, 1, 1, 0) == 0;
}

static void check_result(lua_State *L, bool ok, const char *want)
{
    const bool wanted = *want != '!';

    CHECK_STR(lua_tostring(L, -1), want + !wanted);
    CHECK(ok == wanted);
    lua_settop(L, 0);
}

static void test_encode(lua_State *L)
{
    for (size_t i = 0; i < LEN(encodes); i++) {
        char code[512];

        snprintf(code, sizeof(code), "return %s", encodes[i].value);
        CHECK(luaL_dostring(L, code) == 0);
        lua_getglobal(L, "json");
        lua_getfield(L, -1, "encode");
        lua_pushvalue(L, 1);
        check_result(L, lua_pcall(L, 1, 1, 0) == 0, encodes[i].want);
    }
    CHECK(luaL_dostring(L, "assert(json.encode({ [-1] = 1, [2] = 1 }):find('^{'))\n"
                           "assert(json.encode({ [1.5] = 1, [2] = 1 }):find('^{'))\n"
                           /* lists in the hash part, which gives their entries in any order */
                           "for n = 1, 40 do\n"
                           "  local t, want = {}, {}\n"
                           "  for i = 1, 64 do t['k' .. i] = i end\n"
                           "  for i = 1, 64 do t['k' .. i] = nil end\n"
                           "  for i = n, 1, -1 do t[i] = i want[i] = i end\n"
                           "  assert(json.encode(t) == '[' .. table.concat(want, ',') .. ']')\n"
                           "end\n"
                           "assert(not pcall(json.encode))\n"
                           "assert(not pcall(json.decode, nil))\n"
                           "assert(not pcall(json.decode, 5))\n"
                           "assert(not pcall(json.array, 5))\n"
                           "assert(not pcall(json.array, setmetatable({}, {})))") == 0);
}

static void test_decode(lua_State *L)
{
    static const char code[] = "local value, message, code = json.decode((...))\n"
                               "if value ~= nil then return json.encode(value) end\n"
                               "assert(code == 'INVALID_JSON')\n"
                               "error(message, 0)";

    for (size_t i = 0; i < LEN(decodes); i++) {
        const char *text = decodes[i].text;
        check_result(L, run(L, code, text, strlen(text)), decodes[i].want);
    }
    check_result(L, run(L, code, "[1]\0", 4),
                 "!json.decode: text after the value at line 1, column 4");
    check_result(L, run(L, code, "\"a\0b\"", 5),
                 "!json.decode: control character in a string at line 1, column 3");
}

/* Text that ends where memory ends: nothing is read past it (ASan sees to that). */
static void test_decode_exact(lua_State *L)
{
    for (size_t i = 0; i < LEN(decodes); i++) {
        const size_t len = strlen(decodes[i].text);
        char *copy = malloc(len ? len : 1);

        memcpy(copy, decodes[i].text, len);
        CHECK(json_decode_value(L, (struct str){copy, len}) == (*decodes[i].want != '!'));
        CHECK(lua_gettop(L) == 1);
        lua_settop(L, 0);
        free(copy);
    }
}

static void test_depth(lua_State *L)
{
    CHECK(
        luaL_dostring(
            L,
            "local function nested(open, close, n) return open:rep(n) .. '1' .. close:rep(n) end\n"
            "for _, shape in ipairs { { '[', ']' }, { '{\"a\":', '}' }, { '[{\"a\":', '}]', 2 } } "
            "do\n"
            "  local most = 1000 / (shape[3] or 1)\n"
            "  local text = nested(shape[1], shape[2], most)\n"
            "  local value = assert(json.decode(text))\n"
            "  assert(json.encode(value) == text)\n"
            "  local too, message = json.decode(nested(shape[1], shape[2], most + 1))\n"
            "  assert(not too and message:find('nested deeper than 1000', 1, true), message)\n"
            "  assert(#message < 400)\n"
            "  local ok, why = pcall(json.encode, { value })\n"
            "  assert(not ok and why:find('nested deeper than 1000', 1, true), why)\n"
            "end") == 0);
}

/* --- numbers --- */

static uint64_t seed = 20260101;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void check_double(lua_State *L, double d)
{
    struct str text;
    char copy[64];

    lua_pushnumber(L, d);
    text = json_encode(L, -1);
    CHECK(text.len < sizeof(copy));
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    if (strtod(copy, NULL) != d) {
        fprintf(stderr, "%.17g is written as %s\n", d, copy);
        exit(1);
    }
    CHECK(json_decode_value(L, str_of(copy)));
    CHECK(lua_tonumber(L, -1) == d);
    lua_settop(L, 0);
}

static double random_double(unsigned kind)
{
    const uint64_t bits = next_random();
    double d;

    switch (kind) {
    case 0: /* any bits */
        memcpy(&d, &bits, sizeof(d));
        return isfinite(d) ? d : 0;
    case 1: /* a price */
        return (double)(bits % 10000000) / 100;
    case 2: /* some decimals */
        return (double)(bits % UINT64_C(100000000000)) / pow(10, (double)(next_random() % 12));
    case 3: /* around 2^53 */
        return (double)(INT64_C(9007199254740992) - 100 + (int64_t)(bits % 200));
    default:
        return (double)(bits >> 11) / (double)(UINT64_C(1) << 53);
    }
}

static void test_doubles(lua_State *L)
{
    for (unsigned i = 0; i < 100000; i++)
        check_double(L, random_double(i % 5));
}

/* Random decimal texts read as strtod() reads them. */
static void test_decimals(lua_State *L)
{
    for (unsigned i = 0; i < 100000; i++) {
        char text[80];

        snprintf(text, sizeof(text), "%" PRIu64 ".%0*" PRIu64 "e%d",
                 next_random() >> (next_random() % 64), (int)(1 + next_random() % 20),
                 next_random() >> (next_random() % 64), (int)(next_random() % 60) - 30);
        CHECK(json_decode_value(L, str_of(text)));
        if (lua_tonumber(L, -1) != strtod(text, NULL)) {
            fprintf(stderr, "%s is read as %.17g\n", text, lua_tonumber(L, -1));
            exit(1);
        }
        lua_settop(L, 0);
    }
}

/* --- memory --- */

struct meter {
    size_t used, limit;
};

static void *allocate(void *arg, void *block, size_t old, size_t size)
{
    struct meter *meter = arg;
    const size_t used = meter->used - (block ? old : 0) + size;
    void *moved;

    if (size == 0) {
        free(block);
        meter->used = used;
        return NULL;
    }
    if (size > old && used > meter->limit)
        return NULL;
    moved = realloc(block, size);
    if (moved)
        meter->used = used;
    return moved;
}

static int encode_argument(lua_State *L)
{
    json_encode_value(L, 1);
    return 1;
}

static int decode_argument(lua_State *L)
{
    struct str text;

    text.at = lua_tolstring(L, 1, &text.len);
    CHECK(json_decode_value(L, text));
    return 1;
}

static int round_trip(lua_State *L)
{
    decode_argument(L);
    lua_replace(L, 1);
    lua_settop(L, 1);
    return encode_argument(L);
}

/* Decodes and encodes with `spare` bytes left; whether that was enough. */
static bool runs_in(size_t spare)
{
    struct meter meter = {.limit = SIZE_MAX};
    lua_State *L = lua_newstate(allocate, &meter);
    bool ok;

    CHECK(L != NULL);
    CHECK(lua_cpcall(L, bind_json_open, NULL) == 0);
    lua_pushcfunction(L, round_trip);
    lua_pushliteral(L, "[\"");
    for (int i = 0; i < 1000; i++)
        lua_pushliteral(L, "text\\n");
    lua_pushliteral(L, "\",{\"a\":[1,2,3,4,5,6,7,8,9]}]");
    lua_concat(L, 1002);
    meter.limit = meter.used + spare;
    ok = lua_pcall(L, 1, 1, 0) == 0;
    CHECK(ok || strstr(lua_tostring(L, -1), "memory"));

    /* An error has left nothing behind that matters: the same goes well now. */
    meter.limit = SIZE_MAX;
    CHECK(luaL_loadstring(L, "return 1") == 0);
    lua_pushcfunction(L, round_trip);
    lua_pushliteral(L, "[1,\"\\u00e9\"]");
    CHECK(lua_pcall(L, 1, 1, 0) == 0);
    CHECK_STR(lua_tostring(L, -1), "[1,\"é\"]");
    lua_close(L);
    CHECK(meter.used == 0);
    return ok;
}

/* Out of memory at every point there is. */
static void test_memory(void)
{
    size_t failed = 0, spare = 0;

    for (; !runs_in(spare); spare += 61)
        failed++;
    CHECK(failed > 100);
    CHECK(runs_in(spare + 100000));
}

/* JSON inside JSON: each call has a buffer of its own. */
static void test_nested(lua_State *L)
{
    CHECK(luaL_dostring(
              L, "local value = { text = ('x\\n'):rep(500) }\n"
                 "local want = json.encode(value)\n"
                 "local function finalizer() for i = 1, 40 do local p = newproxy(true)\n"
                 "  getmetatable(p).__gc = function() json.encode({ ('y'):rep(3000) })\n"
                 "  json.decode('\"\\\\n' .. ('z'):rep(3000) .. '\"') end end end\n"
                 "for i = 1, 2000 do\n"
                 "  if i % 50 == 0 then finalizer() end\n"
                 "  assert(json.encode(value) == want)\n"
                 "  assert(json.decode(want).text == value.text)\n"
                 "end\n"
                 "local inner = ffi.metatype('struct { int y; }', { __tostring = function()\n"
                 "  json.encode({ ('y'):rep(3000) }) return '42LL' end })()\n"
                 "assert(json.encode({ value.text, inner }) == '[' .. json.encode(value.text) .. "
                 "',42]')") == 0);
}

int main(void)
{
    lua_State *L = open_state();

    test_encode(L);
    test_decode(L);
    test_decode_exact(L);
    test_depth(L);
    test_doubles(L);
    test_decimals(L);
    test_nested(L);
    if (luaL_dofile(L, "spec/c/json_differential.lua") != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        return 1;
    }
    lua_close(L);
    test_memory();
    printf("ok %zu cases\n", LEN(encodes) + LEN(decodes));
    return 0;
}
