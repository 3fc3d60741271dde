/* What a byte may be in a request head, as one table. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    CHAR_TOKEN = 1,  /* methods and header names */
    CHAR_TARGET = 2, /* request targets: visible, and no '#' */
    CHAR_HOST = 4,   /* host names and IPv4 addresses */
    CHAR_ID = 8,     /* request ids */
    CHAR_DIGIT = 16,
    CHAR_HEX = 32,
};

extern const unsigned char http_chars[256];

static inline size_t span(const char *at, size_t len, unsigned kind)
{
    size_t i = 0;
    while (i < len && http_chars[(unsigned char)at[i]] & kind)
        i++;
    return i;
}

/* How many bytes until a control byte (a tab is one), eight at a time. */
static inline size_t span_text(const char *at, size_t len)
{
    const uint64_t ones = 0x0101010101010101, tops = ones * 0x80;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word, del;
        memcpy(&word, at + i, 8);
        del = word ^ (ones * 0x7F);
        /* a byte below 0x20, or one that is 0x7F; both tests may only err towards finding one */
        if ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops)
            break;
    }
    while (i < len && (unsigned char)at[i] >= 0x20 && at[i] != 0x7F)
        i++;
    return i;
}
