/* Whether a text is a Lua pattern. Lua itself finds out while it matches, and only when it gets to
 * what is wrong: a route would be missed instead of refused.
 */
#pragma once

#include "base/str.h"

/* What is wrong with it; NULL: nothing. */
const char *lua_pattern_problem(struct str pattern);
