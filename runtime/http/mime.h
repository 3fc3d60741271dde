/* Content types by the extension of a file's name. */
#pragma once

#include "base/str.h"

/* "application/octet-stream" for what is not known. Static text. */
const char *mime_of(struct str name);
