/* Versions by semver.org 2.0.0, strictly, and the ranges that npm made common.
 *
 * A range is comparators (`>=1.2.0 <2`), `^1.2`, `~1.2`, `1.x`, `*`, `1.2 - 2.3`, joined by `||`.
 * As with npm, a prerelease satisfies a range only when a comparator names a prerelease of the
 * very same major.minor.patch.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct semver {
    uint64_t major, minor, patch;
    struct str prerelease, build; /* borrowed from the text; `len` 0 when absent */
};

bool semver_parse(struct str text, struct semver *version);

/* < 0, 0, > 0 by precedence, which ignores the build. */
int semver_compare(const struct semver *a, const struct semver *b);

struct semver_range;

struct semver_range *semver_range_parse(struct str text); /* NULL when it is none */
bool semver_range_test(const struct semver_range *range, const struct semver *version);
void semver_range_free(struct semver_range *range);
