/* Percent decoding and the pieces of a query string. Pure: no Lua, no allocation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Decodes %XX (and '+' as a space if `plus`) into `out`, which has room for s.len bytes.
 * Anything that is not a whole escape stays as it is. Returns the length.
 */
size_t url_unescape(struct str s, bool plus, char *out);

/* Whether `s` has a ".." segment, with '/' and '\' as separators, or a NUL. */
bool url_climbs(struct str s);

/* Takes the next non-empty "name=value" off `*rest`; both are still escaped, and a missing
 * value is empty. False when nothing is left.
 */
bool url_next_pair(struct str *rest, struct str *name, struct str *value);
