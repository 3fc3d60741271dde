/* Whose turn it is: which waiting request gets which process, and when one more is started.
 *
 * Apps where requests wait stand in a circle, and each gives one request away in its turn.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/pool_impl.h"

/* --- the circle --- */

static void stand_in_line(struct group *group)
{
    struct pool *pool = group->pool;

    if (group->in_turn)
        return;
    group->in_turn = true;
    group->turn_next = NULL;
    *pool->last_turn = group;
    pool->last_turn = &group->turn_next;
    pool->turn_count++;
}

static struct group *take_first(struct pool *pool)
{
    struct group *group = pool->turns;

    pool->turns = group->turn_next;
    if (!pool->turns)
        pool->last_turn = &pool->turns;
    group->turn_next = NULL;
    group->in_turn = false;
    pool->turn_count--;
    return group;
}

void turns_add(struct pool_call *call, bool in_front)
{
    struct group *group = call->group;

    call->queued = true;
    call->prev = call->next = NULL;
    if (in_front && group->first) {
        call->next = group->first;
        group->first->prev = call;
        group->first = call;
    } else {
        call->prev =
            group->first
                ? (struct pool_call *)((char *)group->last - offsetof(struct pool_call, next))
                : NULL;
        *group->last = call;
        group->last = &call->next;
    }
    group->queued++;
    if (group_is_fresh(group))
        group->pool->queued_fresh++;
    timer_start(group->pool->options.loop, &call->timer, group->app->manifest->timeout);
    stand_in_line(group);
    turns_soon(group->pool);
}

void turns_remove(struct pool_call *call)
{
    struct group *group = call->group;

    if (call->prev)
        call->prev->next = call->next;
    else
        group->first = call->next;
    if (call->next)
        call->next->prev = call->prev;
    else
        group->last = call->prev ? &call->prev->next : &group->first;
    call->prev = call->next = NULL;
    call->queued = false;
    group->queued--;
    if (group_is_fresh(group))
        group->pool->queued_fresh--;
}

/* --- processes --- */

bool turns_usable(const struct process *p)
{
    if (p->state != PROCESS_READY || p->stuck || p->lost)
        return false;
    if (group_is_fresh(p->group))
        return p->in_flight == 0;
    return p->assigned < p->group->app->manifest->max_requests && p->in_flight < IN_PROCESS_MAX;
}

/* The one with the least to do. */
static struct process *pick(const struct group *group)
{
    struct process *best = NULL;

    for (struct process *p = group->processes; p; p = p->sibling_next) {
        if (turns_usable(p) && (!best || p->in_flight < best->in_flight))
            best = p;
    }
    return best;
}

/* Makes room by ending the process that was idle longest, of whatever app; it takes a moment. */
static void evict(struct pool *pool)
{
    struct process *oldest = NULL;

    for (struct process *p = pool->processes; p; p = p->next) {
        if (p->state == PROCESS_ENDING || p->state == PROCESS_DRAINING)
            return; /* one makes room already */
        if (p->state == PROCESS_READY && p->in_flight == 0 && p->group->queued == 0 &&
            (!oldest || p->used_ms < oldest->used_ms))
            oldest = p;
    }
    if (oldest)
        process_drain(oldest, "evicted");
}

static bool has_room(struct pool *pool)
{
    if (pool->live < pool->options.settings->pool_size)
        return true;
    evict(pool);
    return false;
}

static bool start(struct group *group)
{
    struct err err;

    if (process_start(group, &err))
        return true;
    pool_tell_fault(group, &err, NULL);
    if (strcmp(err.code, "SANDBOX_UNAVAILABLE") == 0)
        turns_fail(group, 503, err.code, "This server cannot hold apps back, and must");
    else
        turns_fail(group, 503, "WORKER_NOT_STARTED", "The app's worker could not be started");
    return false;
}

static unsigned usable(const struct group *group)
{
    unsigned count = group->starting;

    for (const struct process *p = group->processes; p; p = p->sibling_next)
        count += turns_usable(p);
    return count;
}

static bool may_start(struct group *group)
{
    struct pool *pool = group->pool;
    const unsigned limit = pool->options.settings->ephemeral_concurrency;

    if (group_is_fresh(group))
        return group->starting < group->queued && pool->slots + pool->fresh_starting < limit &&
               has_room(pool);
    return usable(group) == 0 && has_room(pool);
}

/* Gives one of the group's requests to a process; false when none can take it now. */
static bool give_one(struct group *group)
{
    struct pool *pool = group->pool;
    const bool fresh = group_is_fresh(group);
    struct process *process = pick(group);
    struct pool_call *call = group->first;

    if (fresh && pool->slots >= pool->options.settings->ephemeral_concurrency)
        return false;
    if (!process) {
        if (may_start(group))
            start(group);
        return false;
    }
    turns_remove(call);
    call_send(call, process);
    if (!fresh && !timer_running(&pool->look))
        timer_start(pool->options.loop, &pool->look, LOOK_MS);
    return true;
}

static void stand_again(struct group *group)
{
    if (group->queued)
        stand_in_line(group);
    else
        group_release(group);
}

/* Each app gives one away, if it can; those that did stand behind those that could not. */
static bool go_round(struct pool *pool)
{
    struct group *served = NULL, **last = &served;
    bool any = false;

    for (size_t left = pool->turn_count; left > 0; left--) {
        struct group *group = take_first(pool);
        if (group->queued && give_one(group)) {
            *last = group;
            last = &group->turn_next;
            group->in_turn = any = true;
        } else {
            stand_again(group);
        }
    }
    *last = NULL;
    while (served) {
        struct group *group = served;
        served = group->turn_next;
        group->in_turn = false;
        stand_again(group);
    }
    return any;
}

/* Round after round, as long as any request can be given away. */
void turns_run(struct pool *pool)
{
    while (go_round(pool))
        continue;
}

void turns_soon(struct pool *pool)
{
    if (pool->turns)
        loop_post(pool->options.loop, &pool->turn);
}

/* Everything that waits for the group is answered so, on a later turn of the loop. */
void turns_fail(struct group *group, unsigned status, const char *code, const char *message)
{
    while (group->first) {
        struct pool_call *call = group->first;
        turns_remove(call);
        call_refuse_later(call, status, code, message);
    }
}

/* --- progress --- */

/* Requests that it has not begun go back to the front of the queue, in their order. */
static void take_back(struct process *process)
{
    const uint32_t claimed = page_revoke(process->page);

    for (uint32_t stream = process->last_stream; stream > claimed; stream--) {
        struct pool_call *call = call_of(process, stream);
        if (call)
            call_lost(call, false, false);
    }
    frame_add(channel_out(&process->channel), FRAME_RESUME, 0);
}

static bool may_grow(const struct group *group)
{
    return group->live < group->pool->cores &&
           group->pool->live < group->pool->options.settings->pool_size;
}

static void look_at(struct process *p)
{
    const uint32_t claimed = page_claimed(p->page), waiting = p->last_stream - claimed;
    const bool stands = claimed == p->seen_claimed && waiting > 0 && waiting < UINT32_MAX / 2 &&
                        atomic_load(&p->page->record.depth) > 0;

    p->backlogged = waiting >= BACKLOG && waiting < UINT32_MAX / 2 ? p->backlogged + 1 : 0;
    p->seen_claimed = claimed;
    p->stuck = stands;
    if (stands && (may_grow(p->group) || pick(p->group))) {
        take_back(p);
        if (!pick(p->group) && may_grow(p->group) && !p->group->starting)
            start(p->group);
    } else if (p->backlogged >= 2 && may_grow(p->group) && !p->group->starting) {
        start(p->group);
    }
}

void turns_look(struct timer *timer)
{
    struct pool *pool = (struct pool *)((char *)timer - offsetof(struct pool, look));
    bool busy = false;

    for (struct process *p = pool->processes, *next; p; p = next) {
        next = p->next;
        if (p->state != PROCESS_READY || group_is_fresh(p->group))
            continue;
        busy = busy || p->in_flight > 0 || p->stuck;
        if (p->in_flight > 0)
            look_at(p);
        else
            p->stuck = false;
    }
    if (busy)
        timer_start(pool->options.loop, &pool->look, LOOK_MS);
    turns_soon(pool);
}
