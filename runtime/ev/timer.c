#include "ev/loop_impl.h"

#include <stdlib.h>

#include "base/mem.h"

static bool earlier(const struct timer_node *a, const struct timer_node *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void put(struct timers *timers, size_t at, struct timer_node *node)
{
    timers->heap[at] = node;
    node->at = at;
}

static void sift_up(struct timers *timers, size_t at, struct timer_node *node)
{
    while (at > 0 && earlier(node, timers->heap[(at - 1) / 2])) {
        put(timers, at, timers->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(timers, at, node);
}

static void sift_down(struct timers *timers, size_t at, struct timer_node *node)
{
    for (size_t child; (child = 2 * at + 1) < timers->count; at = child) {
        if (child + 1 < timers->count && earlier(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!earlier(timers->heap[child], node))
            break;
        put(timers, at, timers->heap[child]);
    }
    put(timers, at, node);
}

static void take_out(struct timers *timers, size_t at)
{
    struct timer_node *last = timers->heap[--timers->count];
    if (at == timers->count)
        return;
    if (at > 0 && earlier(last, timers->heap[(at - 1) / 2]))
        sift_up(timers, at, last);
    else
        sift_down(timers, at, last);
}

static struct timer_node *node_new(struct timers *timers)
{
    struct timer_node *node = timers->free;
    if (!node)
        return mem_alloc(sizeof(*node));
    timers->free = node->next_free;
    return node;
}

static void node_free(struct timers *timers, struct timer_node *node)
{
    node->next_free = timers->free;
    timers->free = node;
}

void timer_start(struct loop *loop, struct timer *timer, uint64_t ms)
{
    timer_stop(timer);
    struct timers *timers = &loop->timers;
    if (timers->count == timers->cap) {
        timers->cap = timers->cap ? 2 * timers->cap : 64;
        timers->heap = mem_resize(timers->heap, timers->cap * sizeof(struct timer_node *));
    }
    struct timer_node *node = node_new(timers);
    /* From now, not from the turn's time: a sleep is never shorter than asked for. */
    uint64_t now = clock_now_ns();
    *node = (struct timer_node){.loop = loop, .timer = timer, .order = timers->started++};
    node->due_ns = ms > (UINT64_MAX - now) / 1000000 ? UINT64_MAX - 1 : now + ms * 1000000;
    timer->impl = node;
    sift_up(timers, timers->count++, node);
}

void timer_stop(struct timer *timer)
{
    struct timer_node *node = timer->impl;
    if (!node)
        return;
    timer->impl = NULL;
    take_out(&node->loop->timers, node->at);
    node_free(&node->loop->timers, node);
}

bool timer_running(const struct timer *timer)
{
    return timer->impl != NULL;
}

uint64_t timers_next_ns(const struct loop *loop)
{
    return loop->timers.count ? loop->timers.heap[0]->due_ns : UINT64_MAX;
}

void timers_fire(struct loop *loop)
{
    struct timers *timers = &loop->timers;
    /* Those started by a timer that fires wait for the next turn, so that a turn ends. */
    uint64_t limit = timers->started;
    while (timers->count > 0) {
        struct timer_node *node = timers->heap[0];
        if (node->due_ns > loop->now_ns || node->order >= limit)
            break;
        struct timer *timer = node->timer;
        timer_stop(timer);
        timer->fire(timer);
    }
}

void timers_fini(struct loop *loop)
{
    struct timers *timers = &loop->timers;
    while (timers->count > 0)
        timer_stop(timers->heap[0]->timer);
    while (timers->free) {
        struct timer_node *node = timers->free;
        timers->free = node->next_free;
        free(node);
    }
    free(timers->heap);
    timers->heap = NULL;
}
