#include "bind/url.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t url_unescape(struct str s, bool plus, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        const bool room = s.at[i] == '%' && s.len - i > 2;
        const int high = room ? hex(s.at[i + 1]) : -1;
        const int low = room ? hex(s.at[i + 2]) : -1;

        if (high >= 0 && low >= 0) {
            out[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = plus && s.at[i] == '+' ? ' ' : s.at[i];
        }
    }
    return n;
}

bool url_climbs(struct str s)
{
    size_t start = 0;

    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.at[i] == '\0')
            return true;
        if (i < s.len && s.at[i] != '/' && s.at[i] != '\\')
            continue;
        if (i - start == 2 && s.at[start] == '.' && s.at[start + 1] == '.')
            return true;
        start = i + 1;
    }
    return false;
}

static struct str cut(struct str *rest, char separator)
{
    const char *end = rest->len ? memchr(rest->at, separator, rest->len) : NULL;
    const size_t len = end ? (size_t)(end - rest->at) : rest->len;
    const struct str piece = {rest->at, len};

    rest->at += len + (end ? 1 : 0);
    rest->len -= len + (end ? 1 : 0);
    return piece;
}

bool url_next_pair(struct str *rest, struct str *name, struct str *value)
{
    while (rest->len) {
        struct str pair = cut(rest, '&');

        if (!pair.len)
            continue;
        *name = cut(&pair, '=');
        *value = pair;
        return true;
    }
    return false;
}
