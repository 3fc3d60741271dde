#include "app/public_path.h"

#include "base/buf.h"
#include "base/glob.h"
#include "base/urlpath.h"

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_escape(struct str s, size_t i)
{
    return s.at[i] == '%' && s.len - i >= 3 && is_hex(s.at[i + 1]) && is_hex(s.at[i + 2]);
}

/* False for what nobody can say how it will be read. */
static bool unescape_whole(struct str path, struct buf *out)
{
    if (!percent_decode(out, path))
        return false;
    for (size_t i = 0; i < out->len; i++) {
        const char c = out->data[i];
        if (c == '?' || c == '#' || is_escape(buf_str(out), i))
            return false;
        if (c == '\\')
            out->data[i] = '/';
    }
    return true;
}

/* What nobody can send unescaped, and a pattern may be written with. */
static bool must_be_escaped(char byte)
{
    return (unsigned char)byte >= 0x80 || byte == ' ';
}

static void unescape_needed(struct str path, struct buf *out)
{
    for (size_t i = 0; i < path.len; i++) {
        buf_putc(out, path.at[i]);
        if (!is_escape(path, i))
            continue;
        out->len--;
        percent_decode(out, (struct str){path.at + i, 3});
        if (must_be_escaped(out->data[out->len - 1])) {
            i += 2;
            continue;
        }
        out->len--;
        buf_putc(out, '%');
    }
}

static bool has(struct str s, char c)
{
    return s.len > 0 && memchr(s.at, c, s.len);
}

bool public_path_matches(struct str pattern, struct str path)
{
    struct buf want = {0}, whole = {0}, needed = {0};
    bool matches;

    if (!has(path, '%') && !has(path, '\\') && !has(pattern, '%'))
        return glob_match(pattern, path);
    matches = percent_decode(&want, pattern) && unescape_whole(path, &whole) &&
              glob_match(buf_str(&want), buf_str(&whole));
    if (matches && !glob_match(pattern, path)) {
        unescape_needed(path, &needed);
        matches = !has(pattern, '%') && glob_match(pattern, buf_str(&needed));
    }
    buf_fini(&want);
    buf_fini(&whole);
    buf_fini(&needed);
    return matches;
}
