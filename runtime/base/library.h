/* Shared libraries that are loaded when they are first needed, so that who never does pays nothing
 * for them. What was loaded stays.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct library_function {
    const char *name;
    size_t at; /* where its pointer goes, in bytes from `out` */
};

/* All of the functions or none. The error has `code` and names the file. */
bool library_load(const char *file,
                  const struct library_function *functions,
                  size_t count,
                  void *out,
                  const char *code,
                  struct err *err);
