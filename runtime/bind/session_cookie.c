#include "bind/session_cookie.h"

#include "http/exchange.h"

static struct str trim(struct str s)
{
    while (s.len > 0 && (*s.at == ' ' || *s.at == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Takes the first "name=value" off the header's value. */
static struct str next_pair(struct str *rest)
{
    const char *semicolon = memchr(rest->at, ';', rest->len);
    const size_t len = semicolon ? (size_t)(semicolon - rest->at) : rest->len;
    const size_t skip = semicolon ? len + 1 : len;
    const struct str pair = {rest->at, len};

    rest->at += skip;
    rest->len -= skip;
    return trim(pair);
}

static struct str find(struct str header)
{
    static const struct str start = {SESSION_COOKIE "=", sizeof(SESSION_COOKIE)};

    while (header.len > 0) {
        const struct str pair = next_pair(&header);
        if (str_starts(pair, start))
            return (struct str){pair.at + start.len, pair.len - start.len};
    }
    return (struct str){0};
}

struct str session_cookie(const struct exchange *x)
{
    const size_t count = exchange_header_count(x);
    struct str found = {0};

    for (size_t i = 0; i < count && !found.at; i++) {
        const struct header header = exchange_header_at(x, i);
        if (str_equal(header.name, STR("cookie")))
            found = find(header.value);
    }
    return found;
}
