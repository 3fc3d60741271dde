/* Whether a pattern of `publicRoutes` is for a path as it stands in the request, escapes and all.
 *
 * Hooks that guard are skipped on what this says, so a path has to match in every way in which a
 * plugin may read it: as it is written, but for bytes that cannot be written but escaped, and
 * unescaped as a whole, where an escaped slash or backslash parts segments like any. One that can
 * be unescaped once more, or that would then have a query, is for none.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* `path` is normalised and escaped; a pattern may be written either way. */
bool public_path_matches(struct str pattern, struct str path);
