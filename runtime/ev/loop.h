/* The event loop: h2o's evloop with a libuv loop turned inside it, on one thread.
 *
 * Timers and posts are embedded in the caller's structs and must outlive their run. All
 * functions but loop_wake() are called on the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;

struct loop *loop_new(struct err *err);
void loop_free(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_stop() */
void loop_stop(struct loop *loop);
bool loop_turn(struct loop *loop, unsigned max_wait_ms); /* one turn; false once stopped */
void loop_wake(struct loop *loop);                       /* ends a wait; from any thread */

uint64_t loop_now_ms(struct loop *loop); /* monotonic, as of this turn */
uint64_t clock_now_ns(void);             /* CLOCK_MONOTONIC, read now */

void *loop_h2o(struct loop *loop); /* h2o_loop_t *, for http/ */
void *loop_uv(struct loop *loop);  /* uv_loop_t *, for data/ and worker/ */

/* One-shot timer. `{.fire = f}` is one that does not run. */
struct timer {
    void (*fire)(struct timer *timer);
    void *impl; /* the loop's */
};

void timer_start(struct loop *loop, struct timer *timer, uint64_t ms); /* restarts a running one */
void timer_stop(struct timer *timer);                                  /* no-op if not running */
bool timer_running(const struct timer *timer);

/* Runs `run` on a later turn of the loop, soon. No-op if already posted. */
struct post {
    void (*run)(struct post *post);
    struct post *next;
    bool queued;
};

void loop_post(struct loop *loop, struct post *post);
void loop_unpost(struct loop *loop, struct post *post); /* no-op if not posted */

/* Runs `work` on the thread pool, then `done` on the loop. `job` is the caller's until done. */
struct job {
    void (*work)(struct job *job);
    void (*done)(struct job *job);
    void *impl; /* the loop's */
};

void loop_submit(struct loop *loop, struct job *job);

/* Calls `on` on the loop for each delivery of signal `number`. */
struct signal_watch {
    void (*on)(struct signal_watch *watch);
    int number;
    void *impl; /* the loop's */
};

bool signal_start(struct loop *loop, struct signal_watch *watch, struct err *err);
void signal_stop(struct signal_watch *watch);

/* Something of another layer that there is one of for each loop. Embedded in its struct;
 * loop_free() closes them, newest first, while the loop still works.
 */
struct loop_guest {
    const void *kind; /* the address of something static that names it */
    void (*close)(struct loop_guest *guest);
    struct loop_guest *next;
};

void loop_add_guest(struct loop *loop, struct loop_guest *guest);
struct loop_guest *loop_guest(struct loop *loop, const void *kind); /* NULL: not added */
