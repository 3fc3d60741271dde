/* What vm.c, call.c and task.c share. Not for other folders. */
#pragma once

#include <stdint.h>

#include <mimalloc.h>

#include "vm/vm.h"
#include "vm/watchdog.h"

enum { TASK_POOL_MAX = 256 };

struct vm {
    struct vm_options options;
    char *name, *root;
    size_t used, limit, soft; /* over `soft` the collector is kept going */
    bool enforced;            /* Lua is running: over the limit an allocation fails */
    bool starve;              /* the next allocation fails; needs soft = 0 */
    bool denied;              /* an allocation was refused: collect before Lua runs again */
    bool collect;             /* the same, without that */
    unsigned rounds;          /* of the collector that are still to be whole ones, while denied */
    int stepmul;              /* the collector's, while denied */
    bool closing;
    uint64_t collections;
    struct watchdog *watchdog; /* or NULL */
    lua_State *L;
    struct resource *ledger;
    size_t ledger_len;
    struct task *running; /* innermost task of this VM, or NULL */
    struct task *tasks;   /* all that were started and are not done */
    unsigned task_count;
    struct task *idle; /* finished tasks whose coroutine can be used again */
    unsigned idle_count;
    int trampoline;    /* registry reference of the C function behind vm_protect() */
    char *inner_trace; /* traceback of a coroutine inside the failing one, see vm_note() */
    char *inner_message;
};

/* One entry into Lua, on the C stack of who enters; vm/watchdog.c links them. */
struct vm_entry {
    struct vm *vm;
    struct vm_entry *outer;
    uint64_t tick; /* when it began */
    bool enforced; /* what was before */
    bool armed;    /* the watchdog's hook is set on the VM */
    bool noting;   /* the hook that notes where it is, is set */
    bool fired;    /* it has raised */
};

/* Marks that Lua runs from here to vm_leave(). That returns the error that the entry has ended
 * with if the watchdog ended it, whatever Lua made of it; borrowed until the next entry.
 */
void vm_enter(struct vm *vm, struct vm_entry *entry);
const struct err *vm_leave(struct vm_entry *entry);

/* For vm_enter() and vm_leave(). */
void watchdog_enter(struct watchdog *watchdog, struct vm_entry *entry);
const struct err *watchdog_leave(struct watchdog *watchdog, struct vm_entry *entry);
/* The running task of the VM is shown anew in the record. */
void watchdog_show(struct vm *vm);

/* Whether the source of a function is a file below the folder `root`. */
bool vm_is_below(const char *root, const char *source);

int vm_trampoline(lua_State *L);
