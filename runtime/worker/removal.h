/* Taking apps away from the disk. Blocks: for the thread pool. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct app_set;

/* Folders to remove, and what of them stays. */
struct app_removal {
    char **dirs; /* of what is asked for */
    size_t len;
    char **kept; /* other apps, which may lie in one of them */
    size_t kept_len;
    char **roots; /* RUNTIME_WORKER_DIRS: never removed, empty folders between are */
    size_t root_len;
    bool builtin; /* one of them is: none may be removed */
};

/* All folders of the app, or of one version ("latest" too). Copies what it needs. False when there
 * is none. `roots` is NULL-terminated.
 */
bool app_removal_plan(struct app_removal *removal,
                      const struct app_set *set,
                      const char *name,
                      const char *version,
                      char *const *roots);

/* Each folder is renamed to a hidden name first, so that no scan sees half of it. Symbolic links
 * are not followed: an app that is one loses the link. Code IO.
 */
bool app_removal_run(const struct app_removal *removal, struct err *err);
void app_removal_fini(struct app_removal *removal);
