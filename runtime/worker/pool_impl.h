/* Inside of struct pool, shared by the files of the pool only.
 *
 * pool.c     the pool's life, its apps, its lists and figures
 * turns.c    which waiting request gets which process, and when processes are started
 * process.c  one process: what it says, its ends
 * launch.c   how a process is started
 * scratch.c  temporary folders
 * call.c     one request in a process and its answer
 */
#pragma once

#include "base/buf.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "ev/channel.h"
#include "ev/child.h"
#include "ev/loop.h"
#include "http/exchange.h"
#include "worker/app.h"
#include "worker/frame.h"
#include "worker/page.h"
#include "worker/pool.h"

enum {
    GROUP_BUCKETS = 64,
    STREAM_BUCKETS = 64,
    IN_PROCESS_MAX = 512,  /* requests in one process */
    WAITING_MAX = 1024,    /* requests that wait for one reused app */
    LOOK_MS = 20,          /* how often the progress of busy processes is looked at */
    BACKLOG = 16,          /* requests not begun that call for another process */
    STANDSTILL_MS = 50,    /* a loop that did not move so long, after a time-out, stands still */
    GRACE_MS = 5000,       /* for onTerminate */
    FAILURE_MS = 3000,     /* an app that cannot start is not tried again so long */
    FRESH_KEEP_MS = 60000, /* how long an idle process of an app with ttl 0 is kept */
    RETRY_AFTER_S = 1,
};

/* What an app did, also when it has no process now. */
struct tally {
    char *name, *version;
    uint64_t requests;
    struct tally *next;
};

/* An app that has processes or waiting requests. */
struct group {
    struct pool *pool;
    struct app *app;
    struct tally *tally;
    struct process *processes;
    unsigned live, starting;
    struct pool_call *first, **last; /* that wait */
    size_t queued, calls;
    bool in_turn;
    bool start_died;     /* the last one that started */
    struct err *failure; /* why it could not start last time, or NULL */
    unsigned failure_status;
    uint64_t failed_ms;
    struct group *turn_next; /* of those where requests wait */
    struct group *next;      /* of the bucket */
};

struct gate;

enum process_state { PROCESS_STARTING, PROCESS_READY, PROCESS_DRAINING, PROCESS_ENDING };

struct process {
    struct pool *pool;
    struct group *group;
    struct child child;
    int pid; /* stays when it has ended */
    struct channel channel;
    struct worker_page *page;
    enum process_state state;
    const char *reason;
    char id[16];
    char *tmp;         /* its temporary folder */
    struct gate *gate; /* by which it connects; NULL: it may not */
    struct pool_call *calls[STREAM_BUCKETS];
    unsigned in_flight;
    uint32_t last_stream;
    uint64_t served, assigned, started_ms, used_ms;
    struct timer timer; /* starting: gives up; idle: ttl; ending: kills */
    struct timer idle;  /* onIdle */
    struct timer standstill;
    uint64_t seen_steps;         /* of the page, for the standstill */
    uint32_t seen_claimed;       /* at the last look */
    unsigned backlogged;         /* looks in a row that found many not begun */
    bool stuck;                  /* not begun ones do not move: nothing new for it */
    bool slot;                   /* it computes for an app with ttl 0 */
    bool broken;                 /* it said what it may not: nothing more is read */
    bool lost;                   /* its link has ended; it is about to be reaped */
    struct process *prev, *next; /* of the pool, newest first */
    struct process *sibling_prev, *sibling_next; /* of the group */
};

struct pool_call {
    struct pool *pool;
    struct group *group;
    struct process *process; /* NULL: it waits, or the process is through with it */
    uint32_t stream;
    struct exchange *x; /* NULL: nobody waits for the head */
    size_t strip;
    void (*done)(bool answered, void *arg);
    void *arg;
    struct timer timer;
    struct post refuse;
    unsigned status; /* of the refusal */
    const char *code, *message;
    bool queued, repeated, headed, late;

    struct str body; /* of the request; what was not sent yet */
    size_t window;   /* bytes of it that may be sent */

    struct exchange_source source;
    struct exchange *to; /* the exchange that takes the stream */
    struct buf pending;
    size_t busy;       /* bytes that `to` is at */
    uint64_t received; /* bytes of the response's body */
    bool attached;     /* the source is with an exchange */
    bool ended, aborted;
    struct pool_call *prev, *next; /* of the bucket, or of the queue */
};

struct pool {
    struct pool_options options;
    struct children *children;
    char *api_url;
    char *tmp; /* the folder of the temporary folders; NULL: none was made */
    int tmp_lock;
    struct timer sweep; /* for what others have left */
    struct group *buckets[GROUP_BUCKETS];
    struct group *turns, **last_turn; /* a circle, cut open */
    size_t turn_count;
    struct process *processes;
    size_t live;
    size_t queued_fresh;
    unsigned slots, fresh_starting, cores;
    uint64_t last_id;
    struct tally *tallies;
    struct timer look;
    struct post turn; /* dispatches */
    struct pool_stats stats;
    size_t calls;
    bool stopping, freeing;
    struct timer stop;
    struct post stopped;
    void (*stop_done)(void *arg);
    void *stop_arg;
};

/* pool.c */
void pool_tell_fault(struct group *group, const struct err *err, const char *request_id);
/* The group could not start: what waits for it is told so. */
void pool_fail_waiting(struct group *group);
void pool_maybe_stopped(struct pool *pool);
void group_release(struct group *group); /* freed when nothing is left of it */
bool group_is_fresh(const struct group *group);

/* turns.c */
bool turns_usable(const struct process *process);      /* it may be given another request */
void turns_add(struct pool_call *call, bool in_front); /* it waits */
void turns_remove(struct pool_call *call);
void turns_soon(struct pool *pool); /* dispatches at the end of the loop's turn */
void turns_run(struct pool *pool);
void turns_look(struct timer *timer);
void turns_fail(struct group *group, unsigned status, const char *code, const char *message);

/* launch.c */
bool launch(struct process *process, struct err *err);

/* scratch.c */
bool scratch_make(struct process *process, struct err *err); /* its temporary folder */
void scratch_remove(struct pool *pool, char *path);          /* takes the path over */
void scratch_end(struct pool *pool);

/* process.c */
bool process_start(struct group *group, struct err *err);
void process_drain(struct process *process, const char *reason); /* ends once it has answered */
void process_kill(struct process *process, const char *reason);
void process_released(struct process *process); /* a request less in it */
void process_used(struct process *process);     /* one more */
void process_abandon(struct process *process);  /* it was reaped; at the pool's end */
void process_doom(struct process *process);     /* after a time-out */
/* Whether the stream's handler is what runs there, or just was; 0: any code of the app. */
bool process_runs(const struct process *process, uint32_t stream);
void process_show(const struct process *process, struct pool_worker *worker);

/* call.c */
struct pool_call *call_of(struct process *process, uint32_t stream);
void call_init(struct pool_call *call);
void call_send(struct pool_call *call, struct process *process);
/* Logs that a call which is in a process has no answer in time. Nothing else would: its code has no
 * chance to.
 */
void call_tell_late(const struct pool_call *call);
/* Answers with an error of the runtime, and lets go of the process. */
void call_refuse(struct pool_call *call, unsigned status, const char *code, const char *message);
/* On a later turn of the loop. Without a code: with the group's failure. */
void call_refuse_later(struct pool_call *call,
                       unsigned status,
                       const char *code,
                       const char *message);
/* The process is gone, or will not begin it: out of there. */
void call_leave(struct pool_call *call);
void call_lost(struct pool_call *call, bool claimed, bool running);
void call_free(struct pool_call *call);

/* Nobody waits any more; the process is told, and the call goes on as a ghost until it says that
 * it is through.
 */
void call_abandon(struct pool_call *call);
void call_answer(struct pool_call *call, bool answered);
void call_take_credit(struct pool_call *call, struct str payload);

/* call_response.c */
void call_frame(struct process *process, const struct frame *frame);
void call_pump(struct pool_call *call); /* hands what has come of the body to the client */
