#include "worker/pool.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/pool_impl.h"

/* --- apps --- */

bool group_is_fresh(const struct group *group)
{
    return group->app->manifest->ttl == 0;
}

static struct group **bucket(struct pool *pool, const struct app *app)
{
    return &pool->buckets[((uintptr_t)app / sizeof(*app)) % GROUP_BUCKETS];
}

static struct group *find_group(const struct pool *pool, const struct app *app)
{
    struct group *group = *bucket((struct pool *)pool, app);

    while (group && group->app != app)
        group = group->next;
    return group;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct tally *find_tally(const struct pool *pool, const struct app *app)
{
    struct tally *tally = pool->tallies;

    while (tally && !(same_text(tally->name, app->name) && same_text(tally->version, app->version)))
        tally = tally->next;
    return tally;
}

static struct tally *tally_of(struct pool *pool, const struct app *app)
{
    struct tally *tally = find_tally(pool, app);

    if (tally)
        return tally;
    tally = mem_alloc(sizeof(*tally));
    tally->name = mem_copy(app->name);
    tally->version = mem_copy(app->version);
    tally->next = pool->tallies;
    pool->tallies = tally;
    return tally;
}

static struct group *group_of(struct pool *pool, struct app *app)
{
    struct group *group = find_group(pool, app), **slot = bucket(pool, app);

    if (group)
        return group;
    group = mem_alloc(sizeof(*group));
    group->pool = pool;
    group->app = app_ref(app);
    group->tally = tally_of(pool, app);
    group->last = &group->first;
    group->next = *slot;
    *slot = group;
    return group;
}

static void group_free(struct group *group)
{
    struct group **slot = bucket(group->pool, group->app);

    while (*slot != group)
        slot = &(*slot)->next;
    *slot = group->next;
    app_unref(group->app);
    free(group->failure);
    free(group);
}

void group_release(struct group *group)
{
    if (group->app->retired && !group->calls && !group->processes && !group->in_turn)
        group_free(group);
}

/* --- what happens --- */

void pool_tell_fault(struct group *group, const struct err *err, const char *request_id)
{
    const struct pool_options *options = &group->pool->options;

    if (options->on_fault)
        options->on_fault(options->app, group->app, err,
                          request_id && *request_id ? request_id : NULL);
}

void pool_fail_waiting(struct group *group)
{
    while (group->first) {
        struct pool_call *call = group->first;
        turns_remove(call);
        call_refuse_later(call, 0, NULL, NULL);
    }
}

static bool failed_lately(const struct group *group)
{
    if (!group->failure || group->starting > 0 ||
        loop_now_ms(group->pool->options.loop) - group->failed_ms >= FAILURE_MS)
        return false;
    for (const struct process *p = group->processes; p; p = p->sibling_next) {
        if (p->state == PROCESS_READY)
            return false;
    }
    return true;
}

static bool is_over(const struct group *group)
{
    const struct pool *pool = group->pool;

    return group_is_fresh(group)
               ? pool->queued_fresh >= pool->options.settings->ephemeral_queue_limit
               : group->queued >= WAITING_MAX;
}

/* What came in this turn of the loop may not have been given away yet. */
static bool is_full(struct group *group)
{
    if (is_over(group))
        turns_run(group->pool);
    return is_over(group);
}

/* --- requests --- */

struct pool_call *pool_call(struct pool *pool,
                            struct app *app,
                            struct exchange *x,
                            size_t strip,
                            void (*done)(bool answered, void *arg),
                            void *arg)
{
    struct pool_call *call = mem_alloc(sizeof(*call));
    struct group *group = group_of(pool, app);

    call->pool = pool;
    call->group = group;
    call->x = x;
    call->strip = strip;
    call->done = done;
    call->arg = arg;
    call_init(call);
    group->calls++;
    pool->stats.requests++;
    if (pool->stopping) {
        call_refuse_later(call, 503, "SHUTTING_DOWN", "The server is shutting down");
    } else if (failed_lately(group)) {
        call_refuse_later(call, 0, NULL, NULL);
    } else if (is_full(group)) {
        pool->stats.rejected++;
        call_refuse_later(call, 503, "WORKER_QUEUE_FULL", "Too many requests wait for a worker");
    } else {
        turns_add(call, false);
    }
    return call;
}

void pool_retire(struct pool *pool, struct app *app)
{
    struct group *group = find_group(pool, app);

    app->retired = true;
    if (!group)
        return;
    for (struct process *p = group->processes, *next; p; p = next) {
        next = p->sibling_next;
        if (p->state == PROCESS_READY && p->in_flight == 0 && !group->queued)
            process_drain(p, "replaced");
    }
    group_release(group);
}

/* --- figures --- */

struct pool_stats pool_stats(const struct pool *pool)
{
    struct pool_stats stats = pool->stats;

    stats.size = pool->options.settings->pool_size;
    stats.workers = pool->live;
    stats.idle = stats.queued = 0;
    for (const struct process *p = pool->processes; p; p = p->next)
        stats.idle += p->state == PROCESS_READY && p->in_flight == 0;
    for (const struct group *group = pool->turns; group; group = group->turn_next)
        stats.queued += group->queued;
    return stats;
}

bool pool_worker_at(const struct pool *pool, size_t i, struct pool_worker *worker)
{
    const struct process *process = pool->processes;

    while (process && i-- > 0)
        process = process->next;
    if (process)
        process_show(process, worker);
    return process != NULL;
}

size_t pool_live(const struct pool *pool, const struct app *app)
{
    const struct group *group = find_group(pool, app);

    return group ? group->live : 0;
}

uint64_t pool_requests(const struct pool *pool, const struct app *app)
{
    const struct tally *tally = find_tally(pool, app);

    return tally ? tally->requests : 0;
}

/* --- its life --- */

static void run_turns(struct post *post)
{
    turns_run((struct pool *)((char *)post - offsetof(struct pool, turn)));
}

/* Processors that this process may use. */
static unsigned count_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

struct pool *pool_new(const struct pool_options *options, struct err *err)
{
    struct pool *pool = mem_alloc(sizeof(*pool));

    pool->options = *options;
    pool->api_url = mem_copy(options->api_url);
    pool->last_turn = &pool->turns;
    pool->turn.run = run_turns;
    pool->look.fire = turns_look;
    pool->cores = count_cores();
    pool->tmp_lock = -1;
    pool->children = children_new(options->loop, err);
    if (pool->children)
        return pool;
    free(pool->api_url);
    free(pool);
    return NULL;
}

void pool_set_api_url(struct pool *pool, const char *url)
{
    free(pool->api_url);
    pool->api_url = mem_copy(url);
}

static void free_tallies(struct pool *pool)
{
    while (pool->tallies) {
        struct tally *tally = pool->tallies;
        pool->tallies = tally->next;
        free(tally->name);
        free(tally->version);
        free(tally);
    }
}

static void free_groups(struct pool *pool)
{
    for (size_t i = 0; i < GROUP_BUCKETS; i++) {
        while (pool->buckets[i])
            group_free(pool->buckets[i]);
    }
}

/* Calls whose exchanges still live stay behind no pool: their owners cancel them before. */
void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pool->freeing = true;
    children_free(pool->children);
    while (pool->processes)
        process_abandon(pool->processes);
    timer_stop(&pool->look);
    timer_stop(&pool->stop);
    loop_unpost(pool->options.loop, &pool->turn);
    loop_unpost(pool->options.loop, &pool->stopped);
    free_groups(pool);
    free_tallies(pool);
    scratch_end(pool);
    free(pool->api_url);
    free(pool);
}

/* --- shutdown --- */

static void tell_stopped(struct post *post)
{
    struct pool *pool = (struct pool *)((char *)post - offsetof(struct pool, stopped));
    void (*done)(void *arg) = pool->stop_done;

    pool->stop_done = NULL;
    timer_stop(&pool->stop);
    if (done)
        done(pool->stop_arg);
}

void pool_maybe_stopped(struct pool *pool)
{
    if (pool->stopping && !pool->freeing && pool->live == 0)
        loop_post(pool->options.loop, &pool->stopped);
}

static void kill_all(struct timer *timer)
{
    struct pool *pool = (struct pool *)((char *)timer - offsetof(struct pool, stop));

    for (struct process *p = pool->processes; p; p = p->next)
        process_kill(p, "shutdown");
}

static void refuse_waiting(struct pool *pool)
{
    for (struct group *group = pool->turns; group; group = group->turn_next)
        turns_fail(group, 503, "SHUTTING_DOWN", "The server is shutting down");
}

void pool_shutdown(struct pool *pool, uint64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    pool->stopping = true;
    pool->stop_done = done;
    pool->stop_arg = arg;
    pool->stopped.run = tell_stopped;
    refuse_waiting(pool);
    for (struct process *p = pool->processes, *next; p; p = next) {
        next = p->next;
        process_drain(p, "shutdown");
    }
    pool->stop.fire = kill_all;
    timer_start(pool->options.loop, &pool->stop, timeout_ms);
    pool_maybe_stopped(pool);
}

void pool_end_events(struct pool *pool)
{
    for (struct process *p = pool->processes; p; p = p->next) {
        if (p->state == PROCESS_READY || p->state == PROCESS_DRAINING)
            frame_add(channel_out(&p->channel), FRAME_END_EVENTS, 0);
    }
}
