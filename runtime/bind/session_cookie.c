#include "bind/session_cookie.h"

#include "base/buf.h"
#include "http/exchange.h"

/* What the library takes for one, whatever can be in a header. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str trim(struct str s)
{
    while (s.len > 0 && is_blank(*s.at)) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.at[s.len - 1]))
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

/* "NAME=VALUE", as the library's cookie.get() reads it: blanks may stand around the "=". */
static bool is_session(struct str pair, struct str *value)
{
    const char *equals = pair.len > 0 ? memchr(pair.at, '=', pair.len) : NULL;
    struct str name = {pair.at, equals ? (size_t)(equals - pair.at) : 0};

    if (!equals || !str_equal(trim(name), STR(SESSION_COOKIE)))
        return false;
    *value = trim((struct str){equals + 1, pair.len - name.len - 1});
    return true;
}

bool session_cookie_sort(struct str header, struct str *token, struct buf *rest)
{
    struct str value;
    bool found = false;

    while (header.len > 0) {
        const struct str pair = next_pair(&header);
        if (is_session(pair, &value)) {
            found = true;
            if (!token->at)
                *token = value;
        } else if (pair.len > 0) {
            if (rest->len > 0)
                buf_puts(rest, "; ");
            buf_add_str(rest, pair);
        }
    }
    return found;
}

/* Most requests with cookies have none of ours: their headers need not be listed to find out. */
static bool may_have_one(const struct exchange *x)
{
    const struct str name = STR(SESSION_COOKIE);
    struct str cookies;

    for (size_t i = 0; (cookies = exchange_header_after(x, STR("cookie"), i)).at; i++) {
        if (memmem(cookies.at, cookies.len, name.at, name.len))
            return true;
    }
    return false;
}

void session_cookie_take(struct exchange *x)
{
    size_t count;
    struct str token = {0};
    struct buf rest = {0};
    bool found = false;

    if (!may_have_one(x))
        return;
    count = exchange_header_count(x);
    for (size_t i = 0; i < count; i++) {
        const struct header header = exchange_header_at(x, i);
        if (str_equal(header.name, STR("cookie")))
            found = session_cookie_sort(header.value, &token, &rest) || found;
    }
    if (found) {
        exchange_set_token(x, token);
        if (rest.len > 0)
            exchange_set_header(x, STR("cookie"), buf_str(&rest));
        else
            exchange_remove_header(x, STR("cookie"));
    }
    buf_fini(&rest);
}
