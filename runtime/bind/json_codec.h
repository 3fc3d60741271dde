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

/* The codec with a buffer of the usual size, not the one that a large document has left behind.
 * Raises when the budget is spent.
 */
struct json_codec *json_codec_begin(lua_State *L);

/* Eight bytes at once, the first of them lowest. */
static inline uint64_t json_load(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint32_t json_load4(const char *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

static inline void json_store(char *at, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(at, &word, sizeof(word));
}

/* The same for the 1 to 7 bytes that are left; spaces stand in for the rest. Two loads that
 * overlap instead of a loop.
 */
static inline uint64_t json_load_tail(const char *at, size_t len)
{
    uint64_t word = UINT64_C(0x2020202020202020) << (8 * len);

    if (len >= 4) {
        word |= json_load4(at);
        word |= (uint64_t)json_load4(at + len - 4) << (8 * (len - 4));
    } else {
        word |= (unsigned char)at[0];
        word |= (uint64_t)(unsigned char)at[len / 2] << (8 * (len / 2));
        word |= (uint64_t)(unsigned char)at[len - 1] << (8 * (len - 1));
    }
    return word;
}

/* The top bit of a byte of the result is set where a string needs a closer look: a quote, a
 * backslash, a control character, or not ASCII. Only the lowest mark is exact; the ones above it
 * may be false.
 */
static inline uint64_t json_marks(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);

    return (word | ((word ^ (ones * '"')) - ones) | ((word ^ (ones * '\\')) - ones) |
            (word - ones * 0x20)) &
           tops;
}

/* How many bytes come before the lowest mark. */
static inline size_t json_before(uint64_t marks)
{
    return (size_t)__builtin_ctzll(marks) >> 3;
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
    char text[256]; /* NUL-terminated */
    size_t len;
    bool full; /* the steps that follow are left out */
};

void json_path_key(struct json_path *path, const char *key, size_t len);
void json_path_index(struct json_path *path, double index);
/* The text as the front of a message: "" at the root, else "a.b[3]: ". */
const char *json_path_prefix(struct json_path *path);
