/* What a client is told of an error that a plugin's or an app's code ended with. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct exchange;

/* Message and traceback, secrets masked, only in development; a browser gets a page then. `name` is
 * whose code it was.
 */
void failure_respond(struct exchange *x, const struct err *err, const char *name, bool development);
