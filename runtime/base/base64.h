/* Base64 and base64url (RFC 4648), and hexadecimal.
 *
 * Decoding is strict, so that bytes have one spelling: no spaces, no stray bits at the end. The
 * standard alphabet wants its padding, the URL one goes with or without.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Bytes that the text of `len` bytes takes at most, without a NUL. */
#define BASE64_SIZE(len) (((len) + 2) / 3 * 4)

/* Writes the text and returns its length; the URL alphabet is written without padding. */
size_t base64_encode(struct str bytes, bool url, char *out);

/* `out` has room for 3 bytes for every 4 of text, and 3 more. False when the text is not base64. */
bool base64_decode(struct str text, bool url, char *out, size_t *len);

void hex_encode(struct str bytes, char *out); /* 2 * len */
bool hex_decode(struct str text, char *out);  /* len / 2; false when it is not hexadecimal */
