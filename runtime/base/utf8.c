#include "base/utf8.h"

/* What may follow a lead byte: the length, and the range of the second byte, which is where
 * overlong forms, surrogates and too high code points show.
 */
struct lead {
    unsigned char from, to, len, low, high;
};

static const struct lead leads[] = {
    {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF}, {0xE1, 0xEC, 3, 0x80, 0xBF},
    {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF}, {0xF0, 0xF0, 4, 0x90, 0xBF},
    {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F},
};

static const struct lead *find(unsigned char byte)
{
    for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
        if (byte >= leads[i].from && byte <= leads[i].to)
            return &leads[i];
    }
    return NULL;
}

size_t utf8_next(const char *at, size_t left, bool *valid)
{
    const unsigned char *byte = (const unsigned char *)at;
    const struct lead *lead;
    size_t len = 1;

    *valid = true;
    if (byte[0] < 0x80)
        return 1;
    lead = find(byte[0]);
    while (lead && len < lead->len && len < left) {
        const unsigned char low = len == 1 ? lead->low : 0x80;
        const unsigned char high = len == 1 ? lead->high : 0xBF;
        if (byte[len] < low || byte[len] > high)
            break;
        len++;
    }
    *valid = lead && len == lead->len;
    return len;
}

bool utf8_valid(struct str s)
{
    bool valid = true;

    for (size_t i = 0; i < s.len && valid;)
        i += utf8_next(s.at + i, s.len - i, &valid);
    return valid;
}
