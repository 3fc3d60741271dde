/* YAML text → values, by the 1.2 core schema (`no` is a string, `0o17` a number).
 *
 * Stricter than YAML where a manifest gains by it: one document, no key twice, no null, no NUL,
 * only the core tags, integers exact or refused, bounded depth and bounded growth by aliases.
 * The first syntax error ends the reading; everything else is told all at once.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/problems.h"
#include "conf/value.h"

/* NULL after a problem that leaves nothing to show, and for an empty document. */
const struct value *yaml_read(struct arena *arena,
                              struct str text,
                              const char *file,
                              const char *code,
                              struct problems *problems);

/* A number of the core schema that a double holds exactly enough: finite, and if it is written
 * as an integer at most 2^53.
 */
enum yaml_number { YAML_NOT_A_NUMBER, YAML_NUMBER, YAML_NUMBER_TOO_LARGE };
enum yaml_number yaml_number(struct str text, double *out);
