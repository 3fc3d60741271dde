#include "base/urlpath.h"

#include <stdint.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at `i` stands for, or -1. */
static int escaped(struct str s, size_t i)
{
    int high, low;

    if (s.len - i < 3)
        return -1;
    high = hex(s.at[i + 1]);
    low = hex(s.at[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The decoded byte at `*i`, which moves on; -1 at a bad escape. */
static int next_byte(struct str s, size_t *i)
{
    int byte = (unsigned char)s.at[*i];

    if (byte == '%') {
        byte = escaped(s, *i);
        *i += 2;
    }
    *i += 1;
    return byte;
}

bool percent_decode(struct buf *out, struct str s)
{
    const size_t before = out->len;
    char *at = buf_reserve(out, s.len);
    size_t len = 0;

    for (size_t i = 0; i < s.len;) {
        const int byte = next_byte(s, &i);
        if (byte < 0) {
            at[0] = '\0';
            return false;
        }
        at[len++] = (char)byte;
    }
    at[len] = '\0';
    out->len = before + len;
    return true;
}

void form_decode(struct buf *out, struct str s)
{
    char *at = buf_reserve(out, s.len);
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        const int byte = s.at[i] == '%' ? escaped(s, i) : -1;
        if (byte >= 0)
            i += 2;
        at[len++] = byte >= 0 ? (char)byte : s.at[i] == '+' ? ' ' : s.at[i];
    }
    at[len] = '\0';
    out->len += len;
}

static bool is_control(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7F;
}

enum look { ORDINARY, NEEDS_WORK, REFUSED };

/* Control characters, '%', '/' and '\\': one bit for each byte there is. Letters need no look. */
static inline bool is_special(unsigned char byte)
{
    static const uint64_t special[4] = {
        UINT64_C(0xFFFFFFFF) | UINT64_C(1) << '%' | UINT64_C(1) << '/',
        UINT64_C(1) << ('\\' - 64) | UINT64_C(1) << (0x7F - 64),
    };

    return (byte < 'a' || byte > 'z') && special[byte >> 6] >> (byte & 63) & 1;
}

/* A dot matters only where a segment starts, so "/style.css" is ordinary. */
static enum look look_at(struct str raw)
{
    enum look found = ORDINARY;

    if (raw.len == 0 || raw.at[0] != '/')
        return REFUSED;
    for (size_t i = 0; i < raw.len; i++) {
        const unsigned char c = (unsigned char)raw.at[i];
        if (!is_special(c))
            continue;
        if (is_control(c))
            return REFUSED;
        const char next = i + 1 < raw.len ? raw.at[i + 1] : 'x';
        if (c != '/' || next == '/' || next == '.')
            found = NEEDS_WORK;
    }
    return found;
}

struct scan {
    bool bad;      /* a bad escape or NUL */
    bool climbs;   /* ".." between slashes of any kind, once unescaped */
    unsigned dots; /* 1 or 2 when the segment is "." or "..", however written */
};

static struct scan scan_segment(struct str segment)
{
    struct scan scan = {0};
    unsigned dots = 0, others = 0;
    bool split = false;

    for (size_t i = 0; i < segment.len;) {
        const int byte = next_byte(segment, &i);
        if (byte <= 0) {
            scan.bad = true;
            return scan;
        }
        if (byte == '/' || byte == '\\') {
            scan.climbs |= dots == 2 && !others;
            dots = others = 0;
            split = true;
        } else if (byte == '.') {
            dots++;
        } else {
            others++;
        }
    }
    scan.climbs |= split && dots == 2 && !others;
    scan.dots = !split && !others && dots <= 2 ? dots : 0;
    return scan;
}

/* Takes the last "/segment" off. */
static void drop_segment(struct buf *out)
{
    while (out->len > 0 && out->data[--out->len] != '/')
        ;
}

static bool add_segment(struct buf *out, struct str segment, bool last)
{
    const struct scan scan = scan_segment(segment);

    if (scan.bad || scan.climbs)
        return false;
    if (scan.dots == 2)
        drop_segment(out);
    if (segment.len > 0 && scan.dots == 0) {
        buf_putc(out, '/');
        buf_add_str(out, segment);
    } else if (last) {
        buf_putc(out, '/');
    }
    return true;
}

bool urlpath_normalize(struct str raw, struct buf *scratch, struct str *out)
{
    const enum look look = look_at(raw);
    const char *at = raw.at + 1, *const end = raw.at + raw.len;

    if (look != NEEDS_WORK) {
        *out = raw;
        return look == ORDINARY;
    }
    buf_reset(scratch);
    for (bool last = false; !last;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *stop = slash ? slash : end;
        last = !slash;
        if (!add_segment(scratch, (struct str){at, (size_t)(stop - at)}, last))
            return false;
        at = stop + 1;
    }
    *out = buf_str(scratch);
    return true;
}
