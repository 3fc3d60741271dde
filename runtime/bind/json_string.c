#include "bind/json_codec.h"
#include "bind/json_word.h"

#include <stdint.h>
#include <string.h>

#include <lua.h>

/* --- many bytes at once --- */

static inline uint32_t load4(const char *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

static inline void store8(char *at, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(at, &word, sizeof(word));
}

/* The same for the 1 to 7 bytes that are left; spaces stand in for the rest. Two loads that
 * overlap instead of a loop.
 */
static inline uint64_t load_tail(const char *at, size_t len)
{
    uint64_t word = UINT64_C(0x2020202020202020) << (8 * len);

    if (len >= 4) {
        word |= load4(at);
        word |= (uint64_t)load4(at + len - 4) << (8 * (len - 4));
    } else {
        word |= (unsigned char)at[0];
        word |= (uint64_t)(unsigned char)at[len / 2] << (8 * (len / 2));
        word |= (uint64_t)(unsigned char)at[len - 1] << (8 * (len - 1));
    }
    return word;
}

/* The length of the UTF-8 sequence at `at` (RFC 3629: no surrogates, nothing overlong, nothing
 * above U+10FFFF), or 0.
 */
static inline size_t utf8_length(const char *at, const char *end)
{
    const unsigned char *s = (const unsigned char *)at;
    const size_t left = (size_t)(end - at);

#define TAIL(i) ((s[i] & 0xC0) == 0x80)
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || left < 2 || !TAIL(1))
        return 0;
    if (s[0] < 0xE0)
        return 2;
    if (left < 3 || !TAIL(2))
        return 0;
    if (s[0] < 0xF0)
        return (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ? 0 : 3;
    if (s[0] > 0xF4 || left < 4 || !TAIL(3))
        return 0;
    return (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F) ? 0 : 4;
#undef TAIL
}

/* --- writing --- */

static void put_escape(struct json_out *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    *out->at++ = '\\';
    if (c == '"' || c == '\\') {
        *out->at++ = (char)c;
    } else if (shorts[c]) {
        *out->at++ = shorts[c];
    } else {
        memcpy(out->at, "u00", 3);
        out->at[3] = hex[c >> 4];
        out->at[4] = hex[c & 15];
        out->at += 5;
    }
}

/* Writes the one character at `s` that is not plain and returns its length; 0: not UTF-8. */
static size_t put_special(struct json_out *out, const char *s, const char *end)
{
    size_t len;

    json_need(out, 6 + (size_t)(end - s)); /* the escape, and all that may follow it unescaped */
    if ((unsigned char)*s < 0x80) {
        put_escape(out, (unsigned char)*s);
        return 1;
    }
    len = utf8_length(s, end);
    memcpy(out->at, s, len);
    out->at += len;
    return len;
}

/* Copies the plain bytes that `s` begins with and returns how many; writes up to a word more. */
static inline size_t copy_plain(char *out, const char *s, size_t len)
{
    size_t i = 0;

    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        const uint64_t word = json_load8(s + i), marks = json_marks(word);

        store8(out + i, word);
        if (marks)
            return i + json_before(marks);
    }
    if (i < len) {
        const uint64_t word = load_tail(s + i, len - i), marks = json_marks(word);

        store8(out + i, word);
        return marks ? i + json_before(marks) : len;
    }
    return len;
}

/* There is always room for the rest of the string, a word and the closing quote. False: not
 * UTF-8.
 */
bool json_write_string(struct json_out *out, const char *s, size_t len)
{
    const char *end = s + len;

    json_need(out, len + 2 + sizeof(uint64_t));
    *out->at++ = '"';
    for (;;) {
        const size_t plain = copy_plain(out->at, s, (size_t)(end - s));
        size_t special;

        out->at += plain;
        s += plain;
        if (s == end)
            break;
        special = put_special(out, s, end);
        if (!special)
            return false;
        s += special;
        json_need(out, (size_t)(end - s) + 2 + sizeof(uint64_t));
    }
    *out->at++ = '"';
    return true;
}

/* --- reading --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f')
        return (c | 32) - 'a' + 10;
    return -1;
}

/* Four hex digits; -1: they are not there. */
static long read_hex4(const char *at, const char *end)
{
    long n = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        n = n << 4 | digit;
    }
    return n;
}

static void put_utf8(struct json_out *out, unsigned long c)
{
    if (c < 0x80) {
        *out->at++ = (char)c;
        return;
    }
    if (c < 0x800) {
        *out->at++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out->at++ = (char)(0xE0 | c >> 12);
        } else {
            *out->at++ = (char)(0xF0 | c >> 18);
            *out->at++ = (char)(0x80 | (c >> 12 & 63));
        }
        *out->at++ = (char)(0x80 | (c >> 6 & 63));
    }
    *out->at++ = (char)(0x80 | (c & 63));
}

/* After a "\\u", which is at `escape`. */
static bool read_unicode(struct json_in *in, const char *escape, struct json_out *out)
{
    long c = read_hex4(in->at, in->end), low;

    if (c < 0)
        return json_fail(in, "\\u without four hex digits", escape);
    in->at += 4;
    if (c >= 0xD800 && c <= 0xDFFF) {
        const bool pair = c < 0xDC00 && in->end - in->at >= 2 && memcmp(in->at, "\\u", 2) == 0;

        low = pair ? read_hex4(in->at + 2, in->end) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return json_fail(in, "half of a surrogate pair", escape);
        in->at += 6;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    put_utf8(out, (unsigned long)c);
    return true;
}

/* At the byte after a backslash. There is room for a character. */
static bool read_escape(struct json_in *in, struct json_out *out)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *escape = in->at - 1, *known;

    if (in->at == in->end)
        return json_fail(in, "unfinished string", in->quote);
    if (*in->at++ == 'u')
        return read_unicode(in, escape, out);
    known = escape[1] ? strchr(plain, escape[1]) : NULL;
    if (!known)
        return json_fail(in, "unknown escape", escape);
    *out->at++ = meant[known - plain];
    return true;
}

/* Skips plain bytes; the end is a place to stop as well. */
static inline const char *skip_ascii(const char *s, const char *end)
{
    uint64_t marks;

    for (; (size_t)(end - s) >= sizeof(uint64_t); s += sizeof(uint64_t)) {
        marks = json_marks(json_load8(s));
        if (marks)
            return s + json_before(marks);
    }
    marks = s < end ? json_marks(load_tail(s, (size_t)(end - s))) : 0;
    return marks ? s + json_before(marks) : end;
}

/* Skips what needs no unescaping; stops at a quote or a backslash. */
static bool skip_plain(struct json_in *in)
{
    const char *s = in->at;

    for (;;) {
        size_t step;

        s = skip_ascii(s, in->end);
        if (s == in->end)
            return json_fail(in, "unfinished string", in->quote);
        if (*s == '"' || *s == '\\')
            break;
        if ((unsigned char)*s < 0x20)
            return json_fail(in, "control character in a string", s);
        step = utf8_length(s, in->end);
        if (step == 0)
            return json_fail(in, "invalid UTF-8", s);
        s += step;
    }
    in->at = s;
    return true;
}

/* Puts the text together. `in->at` is at the first backslash; `start` is where the text begins. */
static bool unescape(struct json_in *in, const char *start, struct json_out *out)
{
    for (;;) {
        const size_t run = (size_t)(in->at - start);

        json_need(out, run + 4); /* and the longest character */
        memcpy(out->at, start, run);
        out->at += run;
        if (*in->at++ == '"')
            return true;
        if (!read_escape(in, out))
            return false;
        start = in->at;
        if (!skip_plain(in))
            return false;
    }
}

static bool read_escaped(struct json_in *in, const char *start)
{
    struct json_out out;
    bool ok;

    json_open(&out, in->codec, in->L); /* buffer */
    ok = unescape(in, start, &out);
    if (ok) {
        lua_pushlstring(in->L, out.data, (size_t)(out.at - out.data));
        lua_remove(in->L, out.slot); /* string */
    }
    json_close(&out);
    return ok;
}

bool json_read_string(struct json_in *in)
{
    const char *start = in->at + 1;

    in->quote = in->at++;
    if (!skip_plain(in))
        return false;
    if (*in->at == '\\')
        return read_escaped(in, start);
    lua_pushlstring(in->L, start, (size_t)(in->at - start));
    in->at++;
    return true;
}
