/* Enabling and disabling a plugin: a one-line edit of `enabled:` in its manifest.
 *
 * Only the value of the top-level key changes, or one line is added; comments, order, line ends
 * and the file's mode stay. What the edit made is read again before it counts, so a manifest that
 * is written in a way this cannot edit is refused, never damaged.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* The text with `enabled` set, in `out`; the same text when it says so already. Pure.
 *
 * Codes: MANIFEST_INVALID (no YAML map), MANIFEST_FLOW_STYLE ("{name: x}"), MANIFEST_NOT_EDITABLE.
 */
bool toggle_text(struct str text, bool enabled, struct buf *out, struct err *err);

/* The same for a file, in one step: readers see the old one or the new one. Further codes: IO, and
 * MANIFEST_NOT_WRITABLE.
 */
bool toggle_manifest(const char *file, bool enabled, struct err *err);
