/* A growable byte buffer. The caller owns the struct; buf_fini() frees the bytes.
 * `{0}` is an empty buffer. `data` is kept NUL-terminated once anything was added.
 */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct buf {
    char *data;
    size_t len, cap;
};

void buf_fini(struct buf *buf);
void buf_reset(struct buf *buf);                 /* empty, memory kept */
char *buf_reserve(struct buf *buf, size_t more); /* where the next `more` bytes may go */
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_add_str(struct buf *buf, struct str s);
void buf_puts(struct buf *buf, const char *text);
void buf_putc(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct str buf_str(const struct buf *buf); /* borrowed until the next change */

/* Appends a JSON string literal with its quotes (RFC 8259); invalid UTF-8 becomes U+FFFD. */
void buf_json_string(struct buf *buf, struct str s);
