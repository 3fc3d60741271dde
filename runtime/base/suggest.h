/* "did you mean": the known word nearest to one that was mistyped.
 *
 * Near is at most two slips (a byte added, left out, changed, or two neighbors swapped) and
 * fewer than half the word. Pure; no allocation.
 */
#pragma once

#include <stddef.h>

/* `known` is NULL-terminated. NULL when nothing is near; a word that is known is not a slip. */
const char *suggest(const char *word, const char *const *known);
