/* The texts of an announced reload: what is asked of the other replicas, and what they answer.
 * Pure.
 *
 * Asked is "reload FLAGS NAME": FLAGS of "c" (changed), "s" (strict) and "-", NAME may be empty.
 * Answered is JSON: {"ok", "generation", "durationMs", "errors": [{"name", "code", "message"}],
 * "more"}; `more` tells how many errors did not fit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct reload_options;
struct reload_result;

char *announce_question(const struct reload_options *options); /* the caller's */

/* False: it is something else. `name`, the caller's, is what `options` has as `only`, or NULL. */
bool announce_read(struct str text, struct reload_options *options, char **name);

void announce_write_answer(struct buf *out, const struct reload_result *result, size_t max);
struct str announce_not_supported(void); /* the answer to what cannot be read */
struct str announce_busy(void);          /* … when too many wait */
bool announce_is_good(struct str answer);
