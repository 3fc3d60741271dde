/* What watchdog.c and lag.c share. Not for other folders. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "vm/vm_impl.h"
#include "vm/watchdog.h"

struct watchdog {
    struct watch_record *record, own;
    struct vm_entry *top;   /* innermost; the loop's thread and its signal handler only */
    _Atomic uint64_t tick;  /* counted by the thread, from 1 */
    _Atomic uint64_t since; /* the tick at the outermost entry; 0: no Lua runs */
    bool all;               /* the second limit is over: every entry has to end */
    uint64_t limit_ms, limit_ticks, last_ticks; /* limit_ticks 0: no limit */
    unsigned tick_ms;
    struct err expired; /* of the entry that was ended last */

    void (*lagged)(void *arg, const struct lag *lag);
    void *lagged_arg;
    uint64_t lag_ticks;         /* 0: nobody wants to know */
    bool lagging;               /* the outermost entry is older */
    _Atomic bool noted;         /* and it is known what it does */
    _Atomic uint64_t seen_tick; /* `since`, as the thread saw it first at seen_ms */
    _Atomic uint64_t seen_ms;
    struct lag lag;
    char lag_vm[128];

    pthread_t thread, loop_thread;
    bool running, stopping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static inline bool is_over(uint64_t age, uint64_t ticks)
{
    return ticks && age > ticks;
}

static inline uint64_t now_tick(const struct watchdog *watchdog)
{
    return atomic_load_explicit(&watchdog->tick, memory_order_relaxed);
}

static inline void watchdog_copy(char *to, size_t size, const char *text)
{
    const size_t len = text ? strnlen(text, size - 1) : 0;

    if (len)
        memcpy(to, text, len);
    to[len] = '\0';
}

uint64_t watchdog_now_ms(void);

/* In the signal handler: notes soon what the innermost entry does. */
void watchdog_ask_for_note(struct watchdog *watchdog);
/* The outermost entry, which was long, is left. */
void watchdog_tell_lag(struct watchdog *watchdog, const struct vm_entry *entry);
