/* Private to json_encode.c, json_decode.c and bind_json.c: what both directions share.
 *
 * One codec per VM, a userdata in the registry. Its buffer is the output of an encoding and the
 * unescaping space of a decoding; it survives from call to call, so neither allocates in the
 * usual case, and an error that unwinds leaves nothing behind. The bytes come from the VM's
 * allocator and count against its budget.
 */
#pragma once

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <lua.h>

struct json_codec {
    char *data;
    size_t cap;
    lua_Alloc alloc;
    void *alloc_data;
    const void *array_mark; /* the metatable of marked arrays, to compare with */
    int array_ref;          /* and to fetch */
    locale_t c_locale;      /* os.setlocale() must not put a comma in numbers */
    unsigned calls;         /* counts encodings, to notice one inside another */
};

/* json.empty_array: encoded as `[]`. */
extern const char json_empty_array;

struct json_codec *json_codec(lua_State *L);

/* Makes the buffer at least `cap` bytes, contents kept. Raises when the budget is spent. */
void json_codec_grow(lua_State *L, struct json_codec *codec, size_t cap);

/* Gives a buffer back that one large document has left behind. */
void json_codec_trim(struct json_codec *codec);

/* Eight bytes at once. The top bit of a byte of the result is set where a string needs a closer
 * look: a quote, a backslash, a control character, or not ASCII. Only the lowest mark is exact;
 * the ones above it may be false.
 */
static inline uint64_t json_marks(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);

    return (word | ((word ^ (ones * '"')) - ones) | ((word ^ (ones * '\\')) - ones) |
            (word - ones * 0x20)) &
           tops;
}

/* The length of the plain run that a word with `marks` begins with. */
static inline size_t json_plain(uint64_t marks)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(marks) >> 3;
#else
    return (void)marks, 0;
#endif
}

static inline bool json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The length of the UTF-8 sequence at `at` (RFC 3629: no surrogates, nothing overlong, nothing
 * above U+10FFFF), or 0.
 */
static inline size_t json_utf8(const char *at, const char *end)
{
    const unsigned char *s = (const unsigned char *)at;
    const size_t left = (size_t)(end - at);

#define TAIL(i) ((s[i] & 0xC0) == 0x80)
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || left < 2 || !TAIL(1))
        return 0;
    if (s[0] < 0xE0)
        return 2;
    if (left < 3 || !TAIL(2))
        return 0;
    if (s[0] < 0xF0)
        return (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ? 0 : 3;
    if (s[0] > 0xF4 || left < 4 || !TAIL(3))
        return 0;
    return (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F) ? 0 : 4;
#undef TAIL
}

/* Adds one step of a path to `path`: `.name`, `["odd name"]` or `[3]`. */
struct json_path {
    char text[512]; /* NUL-terminated */
    size_t len;
    bool full; /* the steps that follow are left out */
};

void json_path_key(struct json_path *path, const char *key, size_t len);
void json_path_index(struct json_path *path, double index);
/* The text as the front of a message: "" at the root, else "a.b[3]: ". */
const char *json_path_prefix(struct json_path *path);
