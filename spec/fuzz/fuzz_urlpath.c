/* A path, and behind a NUL a pattern of `publicRoutes`. What comes out of normalising is the normal
 * form of the header, stays it, and leaves the root in no way of reading it; the ways of decoding
 * agree with each other; patterns match as the slow definition of them says.
 */
#include "fuzz.h"

#include "app/public_path.h"
#include "base/buf.h"
#include "base/glob.h"
#include "base/urlpath.h"
#include "bind/url.h"

static bool is(struct str s, const char *text)
{
    return str_equal(s, str_of(text));
}

/* --- normalising --- */

static void check_segments(struct str path)
{
    require(path.len > 0 && path.at[0] == '/');
    take_until(&path, '/');
    while (path.len > 0) {
        const struct str segment = take_until(&path, '/');
        struct buf plain = {0};

        require(segment.len > 0);
        require(percent_decode(&plain, segment));
        require(!is(buf_str(&plain), ".") && !is(buf_str(&plain), ".."));
        require(!memchr(plain.data, '\0', plain.len));
        buf_fini(&plain);
    }
}

static void check_normal(struct str path)
{
    struct buf scratch = {0}, plain = {0};
    struct str again;

    check_segments(path);
    require(urlpath_normalize(path, &scratch, &again));
    require(str_equal(again, path)); /* nothing had to change */
    require(percent_decode(&plain, path));
    require(!url_climbs(buf_str(&plain)));
    buf_fini(&scratch);
    buf_fini(&plain);
}

/* The form that nothing has to be done to is found by another way than the rest, so both ways
 * have to agree: with a "/." segment in front the path is the same.
 */
static void check_long_way(struct str raw, bool ok, struct str path)
{
    struct buf text = {0}, scratch = {0};
    struct str other;

    buf_puts(&text, "/.");
    buf_add_str(&text, raw);
    if (raw.len > 0 && raw.at[0] == '/') {
        const bool other_ok = urlpath_normalize(buf_str(&text), &scratch, &other);
        require(other_ok == ok);
        require(!ok || str_equal(other, path));
    }
    buf_fini(&text);
    buf_fini(&scratch);
}

static void check_path(struct str raw)
{
    struct buf scratch = {0};
    struct str path = {0};
    const bool ok = urlpath_normalize(raw, &scratch, &path);

    if (ok) {
        require(path.len <= raw.len);
        check_normal(path);
    }
    check_long_way(raw, ok, path);
    buf_fini(&scratch);
}

/* --- decoding --- */

static void check_encoded(struct str s)
{
    struct buf text = {0}, plain = {0}, form = {0};

    for (size_t i = 0; i < s.len; i++)
        buf_printf(&text, i % 2 ? "%%%02x" : "%%%02X", (unsigned char)s.at[i]);
    require(percent_decode(&plain, buf_str(&text)) && str_equal(buf_str(&plain), s));
    form_decode(&form, buf_str(&text));
    require(str_equal(buf_str(&form), s));
    buf_fini(&text);
    buf_fini(&plain);
    buf_fini(&form);
}

static void check_decoding(struct str s)
{
    struct buf strict = {0}, form = {0};
    char *out = malloc(s.len + 1);

    require(out != NULL);
    form_decode(&form, s);
    require(str_equal((struct str){out, url_unescape(s, true, out)}, buf_str(&form)));
    if (percent_decode(&strict, s))
        require(str_equal((struct str){out, url_unescape(s, false, out)}, buf_str(&strict)));
    else
        require(strict.len == 0);
    free(out);
    buf_fini(&strict);
    buf_fini(&form);
}

/* Put together again, the pairs are the query without its empty pieces. */
static void check_query(struct str query)
{
    struct buf pairs = {0}, pieces = {0};
    struct str rest = query, name, value;

    while (rest.len > 0) {
        const struct str piece = take_until(&rest, '&');
        buf_add_str(&pieces, piece);
        if (piece.len > 0 && !memchr(piece.at, '=', piece.len))
            buf_putc(&pieces, '=');
        buf_puts(&pieces, piece.len > 0 ? "&" : "");
    }
    for (rest = query; url_next_pair(&rest, &name, &value);) {
        buf_add_str(&pairs, name);
        buf_putc(&pairs, '=');
        buf_add_str(&pairs, value);
        buf_putc(&pairs, '&');
    }
    require(str_equal(buf_str(&pairs), buf_str(&pieces)));
    buf_fini(&pairs);
    buf_fini(&pieces);
}

/* --- patterns --- */

static bool naive_segment(struct str pattern, struct str text)
{
    if (pattern.len == 0)
        return text.len == 0;
    if (pattern.at[0] == '*') {
        for (size_t i = 0; i <= text.len; i++) {
            if (naive_segment((struct str){pattern.at + 1, pattern.len - 1},
                              (struct str){text.at + i, text.len - i}))
                return true;
        }
        return false;
    }
    return text.len > 0 && text.at[0] == pattern.at[0] &&
           naive_segment((struct str){pattern.at + 1, pattern.len - 1},
                         (struct str){text.at + 1, text.len - 1});
}

struct segments {
    struct str items[8];
    size_t len;
};

/* False when there are too many to try all ways. */
static bool split(struct str s, struct segments *out)
{
    out->len = 1;
    out->items[0] = (struct str){s.at, 0};
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] != '/')
            out->items[out->len - 1].len++;
        else if (out->len == 8)
            return false;
        else
            out->items[out->len++] = (struct str){s.at + i + 1, 0};
    }
    return s.len < 40;
}

static bool naive(const struct segments *pattern, size_t p, const struct segments *path, size_t t)
{
    if (p == pattern->len)
        return t == path->len;
    if (is(pattern->items[p], "**")) {
        for (size_t i = t; i <= path->len; i++) {
            if (naive(pattern, p + 1, path, i))
                return true;
        }
        return false;
    }
    if (t == path->len)
        return false;
    if (is(pattern->items[p], "*") ? path->items[t].len == 0
                                   : !naive_segment(pattern->items[p], path->items[t]))
        return false;
    return naive(pattern, p + 1, path, t + 1);
}

static size_t count(struct str s, char c)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += s.at[i] == c;
    return n;
}

static void check_pattern(struct str pattern, struct str path)
{
    const bool matches = glob_match(pattern, path);
    const bool public = public_path_matches(pattern, path);
    struct segments wanted, given;

    if (split(pattern, &wanted) && split(path, &given) && count(pattern, '*') <= 6)
        require(naive(&wanted, 0, &given, 0) == matches);
    if (count(path, '%') + count(path, '\\') + count(pattern, '%') == 0)
        require(public == matches);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size};
    const struct str path = take_until(&rest, '\0');
    char *path_copy = exact_copy(path), *pattern_copy = exact_copy(rest);
    const struct str raw = {path_copy, path.len}, pattern = {pattern_copy, rest.len};

    check_path(raw);
    check_encoded(raw);
    check_decoding(raw);
    check_query(raw);
    if (raw.len > 0)
        check_pattern(pattern, raw);
    free(path_copy);
    free(pattern_copy);
    return 0;
}
