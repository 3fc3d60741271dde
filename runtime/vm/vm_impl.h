/* What vm.c, call.c and task.c share. Not for other folders. */
#pragma once

#include <mimalloc.h>

#include "vm/vm.h"

enum { TASK_POOL_MAX = 256 };

struct vm {
    struct vm_options options;
    char *name, *root;
    size_t used, limit, soft; /* over `soft` the collector is kept going */
    bool enforced;            /* Lua is running: over the limit an allocation fails */
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

/* Marks that Lua runs from here to vm_leave(); returns what vm_leave() needs. */
struct vm_entry {
    bool enforced;
};
struct vm_entry vm_enter(struct vm *vm, lua_State *L);
void vm_leave(struct vm *vm, struct vm_entry entry);

int vm_trampoline(lua_State *L);
