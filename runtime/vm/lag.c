/* What takes long but ends by itself: noted in the middle, told at the end. */
#include <string.h>
#include <time.h>

#include "vm/vm_impl.h"
#include "vm/watchdog_impl.h"

enum { NOTE_DEPTH = 64 };

/* The innermost frame of the plugin's own code. */
static void note_place(lua_State *L, const struct vm *vm, struct lag *lag)
{
    lua_Debug ar;

    for (int level = 0; level < NOTE_DEPTH && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || !vm_is_below(vm->root, ar.source))
            continue;
        watchdog_copy(lag->file, sizeof(lag->file), ar.source + 1);
        lag->line = (unsigned)ar.currentline;
        return;
    }
}

static void note(struct watchdog *watchdog, const struct vm *vm, lua_State *L)
{
    struct lag *lag = &watchdog->lag;

    *lag = (struct lag){.vm = watchdog->lag_vm};
    watchdog_copy(watchdog->lag_vm, sizeof(watchdog->lag_vm), vm->name);
    watchdog_copy(lag->request_id, sizeof(lag->request_id), watchdog->record->request_id);
    watchdog_copy(lag->phase, sizeof(lag->phase), watchdog->record->phase);
    note_place(L, vm, lag);
}

/* Once: then the hook is gone again. */
static void note_hook(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);
    struct watchdog *watchdog = vm->watchdog;
    struct vm_entry *entry = watchdog->top;

    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    if (!entry || entry->vm != vm || !entry->noting)
        return;
    entry->noting = false;
    note(watchdog, vm, L);
    atomic_store_explicit(&watchdog->noted, true, memory_order_relaxed);
}

uint64_t watchdog_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The thread has seen the entry up to a tick after it began. */
static uint64_t lag_ms(const struct watchdog *watchdog, const struct vm_entry *entry)
{
    const uint64_t ticks = (now_tick(watchdog) - entry->tick) * watchdog->tick_ms;

    if (atomic_load(&watchdog->seen_tick) != entry->tick)
        return ticks;
    return watchdog_now_ms() - atomic_load(&watchdog->seen_ms) + watchdog->tick_ms / 2;
}

void watchdog_tell_lag(struct watchdog *watchdog, const struct vm_entry *entry)
{
    if (!atomic_load(&watchdog->noted)) /* it was in C, or in compiled code, all the time */
        note(watchdog, entry->vm, entry->vm->L);
    watchdog->lagging = false;
    atomic_store(&watchdog->noted, false);
    watchdog->lag.ms = lag_ms(watchdog, entry);
    watchdog->lagged(watchdog->lagged_arg, &watchdog->lag);
}

void watchdog_ask_for_note(struct watchdog *watchdog)
{
    struct vm_entry *entry = watchdog->top;

    watchdog->lagging = true;
    if (entry->armed || atomic_load_explicit(&watchdog->noted, memory_order_relaxed))
        return;
    entry->noting = true;
    lua_sethook(entry->vm->L, note_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}
