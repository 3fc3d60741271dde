/* The patterns of `publicRoutes`: paths whose segments may be wildcards.
 *
 * A star alone is exactly one segment that is not empty; two stars are any number of segments, none
 * included: behind "/a/" they match "/a", "/a/" and "/a/b/c". Beside other bytes a star stands for
 * any bytes of that segment ("icon-*.png"). Nothing else is special, and case counts. The cost is
 * at most length times length; no pattern backtracks without bound.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

bool glob_match(struct str pattern, struct str path);
