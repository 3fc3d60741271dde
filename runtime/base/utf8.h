/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Looks at the character at the start of `left` (> 0) bytes. Returns its length when it is
 * valid; else sets `*valid` to false and returns how many bytes one U+FFFD stands for.
 */
size_t utf8_next(const char *at, size_t left, bool *valid);

bool utf8_valid(struct str s);
