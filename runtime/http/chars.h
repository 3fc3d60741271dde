/* What a byte may be in a request head, as one table. */
#pragma once

#include <endian.h>
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
    const unsigned char *byte = (const unsigned char *)at;
    size_t i = 0;
    while (i + 4 <= len && http_chars[byte[i]] & http_chars[byte[i + 1]] & http_chars[byte[i + 2]] &
                               http_chars[byte[i + 3]] & kind)
        i += 4;
    while (i < len && http_chars[byte[i]] & kind)
        i++;
    return i;
}

/* How many bytes until a control byte (a tab is one), sixteen at a time. */
static inline size_t span_text(const char *at, size_t len)
{
    typedef unsigned char block __attribute__((vector_size(16)));
    size_t i = 0;
    for (; i + sizeof(block) <= len; i += sizeof(block)) {
        block text, found;
        uint64_t half[2];
        memcpy(&text, at + i, sizeof(text));
        found = (block)((text < 0x20) | (text == 0x7F)); /* all bits of each that is one */
        memcpy(half, &found, sizeof(half));
        if (half[0])
            return i + (size_t)__builtin_ctzll(le64toh(half[0])) / 8;
        if (half[1])
            return i + 8 + (size_t)__builtin_ctzll(le64toh(half[1])) / 8;
    }
    while (i < len && (unsigned char)at[i] >= 0x20 && at[i] != 0x7F)
        i++;
    return i;
}
