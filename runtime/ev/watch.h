/* Watching one directory for changes of its entries (not of directories below it). */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct loop;

/* Embedded in the caller's struct; `{.changed = f}` is one that does not run. */
struct dir_watch {
    void (*changed)(struct dir_watch *watch);
    void *impl; /* the loop's */
};

bool watch_start(struct loop *loop, struct dir_watch *watch, const char *dir, struct err *err);
void watch_stop(struct dir_watch *watch); /* no-op if not running */
