#include "base/base64.h"

#include <stdint.h>

static const char standard_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Up to three bytes as one number, the first on top. */
static uint32_t gather(const char *at, size_t count)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 3; i++)
        bits = bits << 8 | (i < count ? (unsigned char)at[i] : 0);
    return bits;
}

size_t base64_encode(struct str bytes, bool url, char *out)
{
    const char *letters = url ? url_letters : standard_letters;
    size_t len = 0;

    for (size_t i = 0; i < bytes.len; i += 3) {
        const size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        const uint32_t bits = gather(bytes.at + i, count);

        for (size_t letter = 0; letter < 4; letter++) {
            if (letter <= count)
                out[len++] = letters[bits >> (18 - 6 * letter) & 63];
            else if (!url)
                out[len++] = '=';
        }
    }
    return len;
}

/* 64 for what is no letter. */
static uint32_t value_of(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0' + 52);
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : 64;
}

/* Takes the padding off; false when there is too much or, where it is wanted, too little. */
static bool trim(struct str *text, bool url)
{
    size_t padding = 0;

    while (padding < 2 && text->len > 0 && text->at[text->len - 1] == '=') {
        text->len--;
        padding++;
    }
    if (padding == 0)
        return url || text->len % 4 == 0;
    return (text->len + padding) % 4 == 0;
}

/* 2 to 4 letters at `at`: 1 to 3 bytes. */
static bool decode_group(const char *at, size_t letters, bool url, char *out)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        const uint32_t value = i < letters ? value_of(at[i], url) : 0;
        if (value > 63)
            return false;
        bits = bits << 6 | value;
    }
    if ((letters == 2 && bits & 0xFFFF) || (letters == 3 && bits & 0xFF))
        return false; /* bits that are in no byte */
    for (size_t i = 0; i + 1 < letters; i++)
        out[i] = (char)(bits >> (16 - 8 * i) & 0xFF);
    return true;
}

bool base64_decode(struct str text, bool url, char *out, size_t *len)
{
    *len = 0;
    if (!trim(&text, url) || text.len % 4 == 1)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        const size_t letters = text.len - i < 4 ? text.len - i : 4;
        if (!decode_group(text.at + i, letters, url, out + *len))
            return false;
        *len += letters - 1;
    }
    return true;
}

void hex_encode(struct str bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.len; i++) {
        const unsigned char byte = (unsigned char)bytes.at[i];

        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
}

/* 16 for what is no digit. */
static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

bool hex_decode(struct str text, char *out)
{
    if (text.len % 2)
        return false;
    for (size_t i = 0; i < text.len; i += 2) {
        const unsigned high = digit_of(text.at[i]), low = digit_of(text.at[i + 1]);
        if (high > 15 || low > 15)
            return false;
        *out++ = (char)(high << 4 | low);
    }
    return true;
}
