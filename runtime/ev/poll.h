/* Watching a descriptor that a library owns (libcurl, libpq, hiredis) for being readable or
 * writable.
 *
 * Embedded in the caller's struct, which must outlive the watch. The descriptor stays the caller's;
 * it must not be closed before poll_stop(). One watch a descriptor.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct loop;

enum { POLL_READ = 1, POLL_WRITE = 2 };

/* `{.ready = f}` is one that does not run. */
struct poll {
    /* `events` of those asked for, again and again while they last; both when the descriptor
     * failed. May stop the watch and free what holds it.
     */
    void (*ready)(struct poll *poll, unsigned events);
    void *impl; /* the loop's */
};

/* Starts the watch, or changes the events of one that runs (`fd` must be the same then). */
bool poll_start(struct loop *loop, struct poll *poll, int fd, unsigned events, struct err *err);
void poll_stop(struct poll *poll); /* no-op if not running */
bool poll_running(const struct poll *poll);
