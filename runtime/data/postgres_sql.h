/* The text of statements for PostgreSQL: placeholders and places in it. Pure.
 *
 * `?` placeholders become `$1`, `$2` … in order, and `??` the operator `?`; a statement that has
 * `$1` of its own is left as it is. Literals, quoted names, dollar quotes and comments are not
 * looked into.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* Appends the statement as it is to be sent. Returns how many values it wants. */
unsigned postgres_rewrite(struct str sql, struct buf *out);

/* The character of `sql` (from 1) that the server means by `position` in the statement sent. */
size_t postgres_position(struct str sql, size_t position);
