#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { FIRST_CAP = 64 };

void buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

static void grow(struct buf *buf, size_t need)
{
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    buf->data = mem_resize(buf->data, cap);
    buf->cap = cap;
}

char *buf_reserve(struct buf *buf, size_t more)
{
    /* A sum that wraps is more than there is memory: let the allocation say so. */
    const size_t need = more > SIZE_MAX - 1 - buf->len ? SIZE_MAX : buf->len + more + 1;

    if (need > buf->cap)
        grow(buf, need);
    return buf->data + buf->len;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    char *at = buf_reserve(buf, len);

    if (len)
        memcpy(at, bytes, len);
    at[len] = '\0';
    buf->len += len;
}

void buf_add_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.at, s.len);
}

void buf_puts(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_putc(struct buf *buf, char c)
{
    char *at = buf_reserve(buf, 1);

    at[0] = c;
    at[1] = '\0';
    buf->len++;
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len <= 0)
        return;
    va_start(args, fmt);
    vsnprintf(buf_reserve(buf, (size_t)len), (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
}

struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->data ? buf->data : "", buf->len};
}

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

static void add_escape(struct buf *buf, unsigned char byte)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = byte ? strchr(from, byte) : NULL;

    if (at) {
        buf_putc(buf, '\\');
        buf_putc(buf, to[at - from]);
    } else {
        buf_printf(buf, "\\u%04x", byte);
    }
}

void buf_json_string(struct buf *buf, struct str s)
{
    size_t done = 0; /* what comes before is written */

    buf_putc(buf, '"');
    for (size_t i = 0; i < s.len;) {
        const unsigned char byte = (unsigned char)s.at[i];
        bool valid = byte < 0x80;
        size_t len = 1;

        if (is_plain(byte)) {
            i++;
            continue;
        }
        if (byte >= 0x80)
            len = utf8_next(s.at + i, s.len - i, &valid);
        if (byte < 0x80 || !valid) {
            buf_add(buf, s.at + done, i - done);
            if (valid)
                add_escape(buf, byte);
            else
                buf_puts(buf, "\xEF\xBF\xBD");
            done = i + len;
        }
        i += len;
    }
    if (s.len > done)
        buf_add(buf, s.at + done, s.len - done);
    buf_putc(buf, '"');
}
