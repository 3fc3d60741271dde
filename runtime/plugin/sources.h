/* The Lua files of a plugin's folder, compiled without being run. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct vm;

/* False when a file does not compile: `err` has the place of the first, and a line of its message
 * for each (LOAD_FAILED).
 */
bool sources_compile(struct vm *vm, const char *dir, struct err *err);
bool sources_compile_file(struct vm *vm, const char *path, struct err *err); /* just one */
