/* A VM: one LuaJIT state with its memory meter, its tasks and its ledger of open resources.
 *
 * Everything a VM allocates is counted; over `memory_limit` an allocation fails as a Lua error of
 * that VM alone. The blocks come from mimalloc's heap of the thread, which small VMs share: a heap
 * for each costs 180 KB more a VM in half-used pages. vm_close() closes what is still on the
 * ledger, then the state. A VM belongs to one loop and one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/err.h"

struct loop;
struct task;
struct vm;
struct watchdog;

/* Something a VM opened through the runtime: a timer, a socket, a subscription. Embedded in the
 * resource's own struct. `close` must free the resource and may not call Lua.
 */
struct resource {
    const char *kind; /* "timer", for reports; static text */
    char label[64];   /* what distinguishes it, e.g. "plugin.lua:12" */
    void (*close)(struct resource *resource);
    void (*live)(struct resource *resource); /* see ledger_live(); NULL: nothing to do */
    struct vm *vm;
    struct resource *prev, *next;
};

struct vm_options {
    const char *name; /* plugin name, copied */
    const char *root; /* folder that `require` looks in first, copied; NULL: none */
    size_t memory_limit;
    bool jit;
    bool plain_root; /* vm_shadows_library() has said no; else it is asked */
    bool alone; /* the only VM of its process: with `jit`, the watchdog reaches compiled loops */
    bool strict_globals;       /* assigning a global raises; else it warns once */
    struct loop *loop;         /* NULL: nothing in this VM can wait */
    struct watchdog *watchdog; /* ends what computes too long; NULL: nothing does */
    uint32_t mark;             /* what the watchdog's record shows while this VM runs */
    void *host;                /* what bindings reach through vm_host() */
    /* Opens the C halves of the Lua library (bind_open); called protected. */
    int (*open)(lua_State *L);
    /* Where an error goes that nobody waits for (timers, spawned tasks). */
    void (*report)(struct vm *vm, const struct err *err);
    /* The budget was hit: called from inside an allocation, once until the VM has been collected.
     * May do no more than remember it; may be NULL.
     */
    void (*denied)(struct vm *vm);
};

struct vm *vm_new(const struct vm_options *options, struct err *err);
void vm_close(struct vm *vm);

/* Whether `require` of the library's modules has to look into the folder, as it has to for all
 * others: most folders have nothing of that name, and each look is four opens.
 */
bool vm_shadows_library(const char *root);

struct vm *vm_of(lua_State *L); /* of any coroutine of the VM */
lua_State *vm_main(struct vm *vm);
struct loop *vm_loop(struct vm *vm);
void *vm_host(struct vm *vm);
const char *vm_name(const struct vm *vm);
const char *vm_root(const struct vm *vm);
size_t vm_memory(const struct vm *vm); /* bytes in use now */
size_t vm_memory_limit(const struct vm *vm);
uint64_t vm_collections(const struct vm *vm); /* whole cycles of the collector so far */
void vm_collect(struct vm *vm);               /* a full collection */
void vm_report(struct vm *vm, const struct err *err);

/* Between these, allocations of the VM are not held to its budget: for C code that only pushes a
 * little on a state which is not protected.
 */
bool vm_relax(struct vm *vm); /* returns what vm_restore() needs */
void vm_restore(struct vm *vm, bool enforced);

/* Remembers the traceback of another stack that an error with this message came through; an error
 * that ends a task with the same message shows both.
 */
void vm_note_trace(struct vm *vm, const char *message, const char *trace);

void ledger_add(struct vm *vm, struct resource *resource);
void ledger_remove(struct resource *resource); /* no-op if not on a ledger */
size_t ledger_count(const struct vm *vm);
const struct resource *ledger_first(const struct vm *vm); /* walk by ->next */
/* Tells each that the VM's instance begins to serve. What is told may not change the ledger. */
void ledger_live(struct vm *vm);
/* Closes all of them, newest first. */
void ledger_close(struct vm *vm);

/* Turns the Lua error value at `index` of L into an err: message, file and line of the plugin's
 * own code, code (a table error's `code` field, OUT_OF_MEMORY, else LUA_ERROR), and the traceback
 * of `trace` (NULL: none). Protected: an error object that raises in __tostring is survived.
 */
void vm_error(lua_State *L, int index, lua_State *trace, struct err *err);
