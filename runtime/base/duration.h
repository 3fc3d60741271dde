/* Durations and sizes as people write them in settings and manifests.
 *
 * A duration is `250ms` `30s` `5m` `1h` `7d` `2w` `1y` (365 days) or a bare number of seconds; a
 * size is `10kb` `10mb` `1gb` (1 kb = 1024) or a bare number of bytes. The number may have a
 * fraction where the result is whole enough (`1.5h`, `0.25`). No spaces, no signs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* What the messages say is allowed. */
#define DURATION_ALLOWED "a duration: 250ms, 30s, 5m, 1h, 7d, 2w, 1y or a number of seconds"
#define SIZE_ALLOWED "a size: 10kb, 10mb, 1gb or a number of bytes"

/* False, and nothing written, when the text is no duration or does not fit. */
bool duration_parse(struct str text, uint64_t *ms);
bool size_parse(struct str text, size_t *bytes);
