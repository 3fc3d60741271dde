/* Folders with all that is in them. Symbolic links are never followed. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* STORAGE_FULL or IO, by errno: "WHAT: reason". */
bool tree_err(struct err *err, const char *what);

/* Makes `path` and what is missing above it, with `mode` less the umask. False: errno. */
bool tree_make(const char *path, unsigned mode);

/* Copies the folder `from` to `to`, which does not exist: files, folders and symbolic links, with
 * their permissions; anything else is left out. Codes STORAGE_FULL, IO.
 */
bool tree_copy(const char *from, const char *to, struct err *err);

void tree_remove(const char *path); /* as much as can be; no error when it is not there */

bool tree_sync(const char *dir); /* the entries of one folder are on the disk; false: errno */
