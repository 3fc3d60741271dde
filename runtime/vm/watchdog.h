/* The watchdog: ends a Lua function that computes longer than a limit without waiting, tells of
 * those that take long but end by themselves, and keeps a record of what is running.
 *
 * One per loop, on whose thread it must be made; each VM is given it in its options. Entering Lua
 * costs a few stores: a thread beside the loop counts ticks, and once the outermost entry is too
 * many of them old it signals the loop's thread, where a debug hook is set on the innermost VM.
 * The hook raises at every instruction until the entry is left, so nothing in Lua can swallow
 * it. It cannot reach compiled code nor C: those are for whoever reads the record.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include <lua.h>

#include "base/err.h"

struct watchdog;

enum { WATCH_REQUEST_MAX = 64, WATCH_PHASE_MAX = 16 };

/* What runs, written by the loop's thread alone. It may lie in memory that another process reads:
 * while `steps` stands still and `depth` is not 0, the rest is what has run since.
 */
struct watch_record {
    _Atomic uint64_t steps; /* goes up whenever Lua is entered or left */
    _Atomic uint32_t depth; /* how many entries, one inside the other */
    uint32_t mark;          /* vm_options.mark of the innermost VM */
    char request_id[WATCH_REQUEST_MAX];
    char phase[WATCH_PHASE_MAX]; /* "onInit", "request"; "" when unknown */
};

/* What held the loop's thread for long, as it was in the middle of it. */
struct lag {
    const char *vm; /* the name of the innermost VM; NULL: it was never in Lua again */
    uint64_t ms;    /* until Lua was left altogether; right to about a quarter of `lag_ms` */
    char file[ERR_FILE_MAX]; /* of the plugin's own code; "" when none was reached */
    unsigned line;
    char request_id[WATCH_REQUEST_MAX];
    char phase[WATCH_PHASE_MAX];
};

struct watchdog_options {
    uint64_t limit_ms;           /* 0: nothing is ended */
    uint64_t lag_ms;             /* what takes longer is told; 0: nothing is */
    struct watch_record *record; /* the caller's; NULL: a private one */
    /* On the loop's thread, when Lua has been left; may not run Lua. */
    void (*lagged)(void *arg, const struct lag *lag);
    void *arg;
};

struct watchdog *watchdog_new(const struct watchdog_options *options, struct err *err);
void watchdog_free(struct watchdog *watchdog); /* after the VMs that use it */

/* For C functions that Lua calls and that work for long: raises if their time is over. */
void watchdog_check(lua_State *L);
