/* The path of a request target: made safe before anybody routes by it.
 *
 * Works on the escaped path without the query. What comes out starts with "/", has no empty,
 * "." or ".." segment, is still escaped (an escaped slash stays one), and does not turn into a
 * path with ".." when it is unescaped once, on either kind of slash.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* False: answer 400. `*out` is `raw` itself when nothing had to change, which costs one pass;
 * else it lies in `scratch` (reset first).
 */
bool urlpath_normalize(struct str raw, struct buf *scratch, struct str *out);

/* Appends `s` with its percent escapes resolved; false (and `out` as before) at a bad escape. */
bool percent_decode(struct buf *out, struct str s);

/* For queries and forms: "+" is a space, and a bad escape stands for itself. */
void form_decode(struct buf *out, struct str s);
