/* Private to json_*.c: eight bytes of text at once. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Eight bytes at once, the first of them lowest. */
static inline uint64_t json_load8(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
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
