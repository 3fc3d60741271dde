/* Addresses of host names, looked up on the thread pool: libraries that do it themselves block.
 *
 * The caller fills in `names` and `done`, and owns the struct again once `done` was called; a
 * look-up cannot be called off. A name that is an address already, or the path of a socket, stays
 * as it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ev/loop.h"

struct resolved {
    unsigned name;     /* which of the names */
    char address[128]; /* numeric; "" for a socket's path */
};

struct resolve {
    struct job job;
    char **names; /* borrowed until `done` */
    unsigned name_count;
    void (*done)(struct resolve *resolve);

    struct resolved *found; /* in the order of the names; freed by resolve_fini() */
    unsigned count;
    char problem[256]; /* of the last name that was not found; "" if all were */
};

void resolve_start(struct loop *loop, struct resolve *resolve);
void resolve_fini(struct resolve *resolve);
