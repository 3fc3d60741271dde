#include "vm/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/task.h"
#include "vm/vm_impl.h"
#include "vm/watchdog_impl.h"

/* By default ignored, so that one that comes late does no harm. */
enum { WATCH_SIGNAL = SIGURG };

enum { TICK_MIN_MS = 5, TICK_MAX_MS = 100 };

/* The compiler may not move what the signal handler reads across this. */
static inline void order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* --- the record --- */

static inline void step(struct watch_record *record, int change)
{
    const uint64_t steps = atomic_load_explicit(&record->steps, memory_order_relaxed);
    const uint32_t depth = atomic_load_explicit(&record->depth, memory_order_relaxed);

    atomic_store_explicit(&record->steps, steps + 1, memory_order_relaxed);
    atomic_store_explicit(&record->depth, depth + (uint32_t)change, memory_order_relaxed);
}

static void show(struct watchdog *watchdog, const struct vm *vm)
{
    struct watch_record *record = watchdog->record;
    const struct task *task = vm->running;

    record->mark = vm->options.mark;
    watchdog_copy(record->request_id, sizeof(record->request_id),
                  task ? task_request_id(task) : NULL);
    watchdog_copy(record->phase, sizeof(record->phase), task ? task_phase(task) : NULL);
}

void watchdog_show(struct vm *vm)
{
    if (vm->watchdog && vm->watchdog->top && vm->watchdog->top->vm == vm)
        show(vm->watchdog, vm);
}

/* --- ending --- */

/* Raises in a way that runs no message handler: while one runs, no hook does, and one that loops
 * would be out of reach. An allocation that fails is such an error; the collector, which may
 * allocate too, rests meanwhile.
 */
static void raise_quietly(lua_State *L, struct vm *vm)
{
    lua_gc(L, LUA_GCSTOP, 0);
    vm->starve = true;
    vm->soft = 0;
    lua_newuserdata(L, 1);
    luaL_error(L, "%s", vm->watchdog->expired.message); /* not reached */
}

/* Where the coroutine was resumed, when it is one inside the task. */
static void add_outer(struct watchdog *watchdog, const struct vm *vm, lua_State *L)
{
    char *trace = watchdog->expired.traceback;
    const size_t len = strnlen(trace, ERR_TRACE_MAX / 2);

    if (!vm->running || task_state(vm->running) == L)
        return;
    luaL_traceback(L, task_state(vm->running), NULL, 0);
    snprintf(trace + len, ERR_TRACE_MAX - len, "\ncalled from\n%.4000s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

static void describe(struct watchdog *watchdog, const struct vm_entry *entry, lua_State *L)
{
    const bool own = now_tick(watchdog) - entry->tick >= watchdog->limit_ticks;
    const bool enforced = vm_relax(entry->vm);
    char message[160];

    snprintf(message, sizeof(message), "%s longer than %llu ms without waiting (RUNTIME_WATCHDOG)",
             own ? "it computed" : "the function that called it computed",
             (unsigned long long)watchdog->limit_ms);
    lua_pushstring(L, message);
    vm_error(L, lua_gettop(L), L, &watchdog->expired);
    lua_pop(L, 1);
    add_outer(watchdog, entry->vm, L);
    memcpy(watchdog->expired.code, "HANDLER_TIMEOUT", sizeof("HANDLER_TIMEOUT"));
    vm_restore(entry->vm, enforced);
}

static void expire(struct watchdog *watchdog, struct vm_entry *entry, lua_State *L)
{
    if (!entry->fired) {
        describe(watchdog, entry, L);
        entry->fired = true;
    }
    raise_quietly(L, entry->vm);
}

static void hook(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);
    struct vm_entry *entry = vm->watchdog->top;

    (void)ar;
    if (entry && entry->vm == vm && entry->armed)
        expire(vm->watchdog, entry, L);
}

void watchdog_check(lua_State *L)
{
    struct watchdog *watchdog = vm_of(L)->watchdog;

    if (watchdog && watchdog->top && watchdog->top->armed)
        expire(watchdog, watchdog->top, L);
}

/* --- the signal --- */

static void arm(struct vm_entry *entry)
{
    entry->armed = true;
    lua_sethook(entry->vm->L, hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* On the loop's thread, wherever it is. That is why the thread that counts does not set the hook
 * itself: LuaJIT changes single bits of the same byte without a lock.
 */
static void on_signal(int number, siginfo_t *info, void *context)
{
    struct watchdog *watchdog = info->si_value.sival_ptr;
    uint64_t age;

    (void)number;
    (void)context;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid() || !watchdog->top)
        return;
    age = now_tick(watchdog) - atomic_load_explicit(&watchdog->since, memory_order_relaxed);
    if (is_over(age, watchdog->lag_ticks))
        watchdog_ask_for_note(watchdog);
    if (!is_over(age, watchdog->limit_ticks))
        return;
    if (age > watchdog->last_ticks)
        watchdog->all = true;
    arm(watchdog->top);
}

/* --- entering and leaving --- */

void watchdog_enter(struct watchdog *watchdog, struct vm_entry *entry)
{
    entry->outer = watchdog->top;
    entry->tick = now_tick(watchdog);
    order();
    if (!entry->outer)
        atomic_store_explicit(&watchdog->since, entry->tick, memory_order_relaxed);
    watchdog->top = entry;
    order();
    show(watchdog, entry->vm);
    step(watchdog->record, 1);
}

static void disarm(struct watchdog *watchdog, struct vm_entry *entry)
{
    struct vm_entry *outer = entry->outer;

    if (entry->armed || entry->noting)
        lua_sethook(entry->vm->L, NULL, 0, 0);
    if (!outer)
        watchdog->all = false;
    else if (outer->armed || watchdog->all)
        arm(outer);
}

const struct err *watchdog_leave(struct watchdog *watchdog, struct vm_entry *entry)
{
    struct vm_entry *outer = entry->outer;

    order();
    watchdog->top = outer;
    if (!outer)
        atomic_store_explicit(&watchdog->since, 0, memory_order_relaxed);
    order();
    if (entry->armed || watchdog->lagging || watchdog->all || (outer && outer->armed))
        disarm(watchdog, entry);
    step(watchdog->record, -1);
    if (outer)
        show(watchdog, outer->vm);
    else if (watchdog->lagging)
        watchdog_tell_lag(watchdog, entry);
    return entry->fired ? &watchdog->expired : NULL;
}

/* --- the thread --- */

static void add_ms(struct timespec *at, unsigned ms)
{
    at->tv_nsec += (long)ms * 1000000;
    at->tv_sec += at->tv_nsec / 1000000000;
    at->tv_nsec %= 1000000000;
}

static void tick(struct watchdog *watchdog)
{
    const uint64_t now = atomic_fetch_add_explicit(&watchdog->tick, 1, memory_order_relaxed) + 1;
    const uint64_t since = atomic_load_explicit(&watchdog->since, memory_order_relaxed);

    if (since != atomic_load_explicit(&watchdog->seen_tick, memory_order_relaxed)) {
        atomic_store(&watchdog->seen_tick, since);
        atomic_store(&watchdog->seen_ms, watchdog_now_ms());
    }
    /* Again at each tick: a hook that was set while LuaJIT changed its own bits may be lost. */
    if (since && (is_over(now - since, watchdog->limit_ticks) ||
                  (is_over(now - since, watchdog->lag_ticks) && !atomic_load(&watchdog->noted))))
        pthread_sigqueue(watchdog->loop_thread, WATCH_SIGNAL,
                         (union sigval){.sival_ptr = watchdog});
}

static void *run_thread(void *arg)
{
    struct watchdog *watchdog = arg;
    struct timespec at;

    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stopping) {
        /* From now, not from the last tick: after a pause of the machine ticks are not made up. */
        clock_gettime(CLOCK_MONOTONIC, &at);
        add_ms(&at, watchdog->tick_ms);
        while (!watchdog->stopping &&
               pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &at) != ETIMEDOUT)
            continue;
        if (!watchdog->stopping)
            tick(watchdog);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

static bool start_thread(struct watchdog *watchdog, struct err *err)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_condattr_t monotonic;
    sigset_t all, before;
    int rc;

    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigaction(WATCH_SIGNAL, &action, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&watchdog->thread, NULL, run_thread, watchdog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    watchdog->running = rc == 0;
    return rc == 0 || err_set(err, "NO_THREAD", "the watchdog's thread: %s", strerror(rc));
}

static unsigned tick_for(const struct watchdog_options *options)
{
    const uint64_t eighth = options->limit_ms ? options->limit_ms / 8 : TICK_MAX_MS;
    const uint64_t quarter = options->lag_ms ? options->lag_ms / 4 : TICK_MAX_MS;
    const uint64_t ms = eighth < quarter ? eighth : quarter;

    return ms < TICK_MIN_MS ? TICK_MIN_MS : ms > TICK_MAX_MS ? TICK_MAX_MS : (unsigned)ms;
}

static uint64_t to_ticks(const struct watchdog *watchdog, uint64_t ms)
{
    return (ms + watchdog->tick_ms - 1) / watchdog->tick_ms;
}

struct watchdog *watchdog_new(const struct watchdog_options *options, struct err *err)
{
    struct watchdog *watchdog = mem_alloc(sizeof(*watchdog));

    watchdog->record = options->record ? options->record : &watchdog->own;
    watchdog->limit_ms = options->limit_ms;
    watchdog->tick_ms = tick_for(options);
    watchdog->limit_ticks = to_ticks(watchdog, options->limit_ms);
    watchdog->last_ticks = watchdog->limit_ticks + watchdog->limit_ticks / 4;
    watchdog->lag_ticks = to_ticks(watchdog, options->lag_ms);
    watchdog->lagged = options->lagged;
    watchdog->lagged_arg = options->arg;
    watchdog->loop_thread = pthread_self();
    atomic_store(&watchdog->tick, 1);
    if ((!watchdog->limit_ticks && !watchdog->lag_ticks) || start_thread(watchdog, err))
        return watchdog;
    watchdog_free(watchdog);
    return NULL;
}

void watchdog_free(struct watchdog *watchdog)
{
    if (!watchdog)
        return;
    if (watchdog->running) {
        pthread_mutex_lock(&watchdog->lock);
        watchdog->stopping = true;
        pthread_cond_signal(&watchdog->wake);
        pthread_mutex_unlock(&watchdog->lock);
        pthread_join(watchdog->thread, NULL);
        signal(WATCH_SIGNAL, SIG_IGN);
        pthread_cond_destroy(&watchdog->wake);
        pthread_mutex_destroy(&watchdog->lock);
    }
    free(watchdog);
}
