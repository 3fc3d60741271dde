/* What the server does for uploads of packages before and beside the control plane. */
#pragma once

#include <stddef.h>

#include "base/str.h"

/* For server_options.body_limit_of: the routes of uploads take a whole package, whatever
 * RUNTIME_BODY_LIMIT says. 0 for every other target.
 */
size_t uploads_body_limit(void *app, struct str target);
