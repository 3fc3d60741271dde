/* The versions of plugins that were replaced or removed: RUNTIME_STATE_DIR/versions/NAME/ID/, the
 * last three of each plugin.
 *
 * ID is when it was kept and which version it was, so that names sort by age. Blocks: for the
 * thread pool, and one caller at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct settings;

enum { VERSIONS_KEPT = 3 };

struct kept_version {
    char *path;
    char *version; /* NULL when it had none */
    uint64_t kept_ms;
};

struct kept_list {
    struct kept_version *items; /* the newest first */
    size_t len;
};

/* Whether a plugin of that name may have its versions here: it leads nowhere else. The name of a
 * folder counts, for a plugin whose manifest cannot be read.
 */
bool versions_name_is_sound(const char *name);

/* Empty for a name that is not sound. The caller owns `list`; kept_fini() frees what is in it. */
void versions_list(const struct settings *settings, const char *name, struct kept_list *list);
void kept_fini(struct kept_list *list);

/* Moves the folder `dir` there; over the border of a file system it is copied, and stays for the
 * caller to remove. `version` may be NULL. Codes STORAGE_FULL, IO; then `dir` is as it was.
 */
bool versions_keep(const struct settings *settings,
                   const char *name,
                   const char *version,
                   const char *dir,
                   struct err *err);

/* Removes what is more than the last VERSIONS_KEPT, and what a crash has left half made. */
void versions_prune(const struct settings *settings, const char *name);
