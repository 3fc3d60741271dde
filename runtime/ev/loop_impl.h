/* Inside of struct loop, shared by the files of ev/ only. */
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <h2o.h>
#include <uv.h>
#pragma GCC diagnostic pop

#include "ev/loop.h"

/* A running timer. Nodes are reused, so starting and firing one allocates nothing. */
struct timer_node {
    struct loop *loop;
    union {
        struct timer *timer;
        struct timer_node *next_free;
    };
    uint64_t due_ns;
    uint64_t order; /* among those due together, the one started first fires first */
    size_t at;      /* index in the heap */
};

struct timers {
    struct timer_node **heap; /* a binary heap, the next one due on top */
    size_t count, cap;
    struct timer_node *free;
    uint64_t started;
};

struct loop {
    h2o_loop_t *h2o;
    uv_loop_t uv;
    uv_async_t wake;
    h2o_socket_t *uv_socket; /* libuv's backend descriptor, watched by h2o */
    struct timers timers;
    struct post *first_post, **last_post;
    size_t post_count;
    struct signal_run *signals;
    struct loop_guest *guests;
    size_t jobs_open;
    uint64_t now_ns;
    bool stopped;
};

void signals_fini(struct loop *loop);

void timers_fini(struct loop *loop);
void timers_fire(struct loop *loop);              /* those due at loop->now_ns */
uint64_t timers_next_ns(const struct loop *loop); /* UINT64_MAX if none runs */
