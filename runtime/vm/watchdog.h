/* The watchdog: ends a Lua function that computes longer than a limit without waiting, and keeps
 * a record of what is running.
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

/* `limit_ms` 0 only keeps the record. `record` is the caller's; NULL: a private one. */
struct watchdog *watchdog_new(uint64_t limit_ms, struct watch_record *record, struct err *err);
void watchdog_free(struct watchdog *watchdog); /* after the VMs that use it */

/* For C functions that Lua calls and that work for long: raises if their time is over. */
void watchdog_check(lua_State *L);
