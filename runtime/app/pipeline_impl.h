/* What the pipeline's files share: the run, and the stages. Not for other folders. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/pipeline.h"
#include "app/server.h"
#include "bind/bind.h"
#include "bind/call.h"
#include "http/exchange.h"
#include "plugin/instance.h"

enum outcome {
    NEXT,     /* on to the next stage */
    AGAIN,    /* the same stage with its next plugin */
    ANSWERED, /* on to what comes after an answer */
    WAIT,     /* a task goes on with it later */
    SENT,     /* the end */
};

struct run {
    struct server *server;
    struct exchange *x; /* NULL once it was sent or its client is gone */
    struct generation *generation;
    struct app_set *apps;  /* as of when it began; counted, with the generation */
    struct bind_target by; /* who answered, once somebody did; borrowed from those two */
    size_t stage, index;
    struct instance *in; /* whose code works for it; counted */
    struct task *task;   /* NULL once it is done or was given up on */
    struct bind_request *request;
    struct static_look *look; /* a file is being looked for */
    struct pool_call *worker; /* a worker is asked */
    enum entry entry;
    enum outcome outcome;
    bool stepping;
    uint64_t started_ns;
    struct metric_route *series; /* what answered, as it is counted */
    struct trace *trace;         /* the exchange's memory; NULL: it belongs to none */
    unsigned refs;
    struct run *prev, *next;
};

/* --- pipeline.c --- */

/* Walks the stages until one waits or the response is sent. */
void run_step(struct run *run);

/* --- pipeline_run.c: its life, and how it is counted --- */
struct run *run_new(struct server *server, struct exchange *x);
void run_unref(struct run *run);
void run_end(struct run *run); /* the request is over: what it held goes */
void run_leave_instance(struct run *run);

/* Takes the run away from its task, which is cancelled and may end whenever it likes. */
void run_abandon_task(struct run *run, const char *reason);
void run_leave_worker(struct run *run);
void run_client_gone(struct exchange *x, void *run);

void run_note_series(struct run *run); /* what its task's answer is counted as */
void run_count(struct run *run, unsigned status);
void run_log(const struct run *run);

/* --- pipeline_call.c: calling plugins --- */
const char *run_phase(const struct run *run);

/* Calls `in`, with `strip` bytes of the path hidden and, for hooks, what is going to answer. */
enum outcome
run_call(struct run *run, struct instance *in, enum entry entry, size_t strip, bool with_app);

/* Who is going to answer, or who has. */
struct bind_target run_target(const struct run *run);
void run_answered_by(struct run *run, const struct instance *in, enum bind_kind kind);

/* --- the stages: pipeline_stages.c, pipeline_apps.c --- */
bool path_below(struct str path, const char *prefix, const char *rest);
enum outcome stage_control_plane(struct run *run);
enum outcome stage_body_limit(struct run *run);
enum outcome stage_request_hooks(struct run *run);
enum outcome stage_server_routes(struct run *run);
enum outcome stage_server_fetch(struct run *run);
enum outcome stage_plugin_routes(struct run *run);
enum outcome stage_root_routes(struct run *run);
enum outcome stage_plugin_apps(struct run *run);
enum outcome stage_worker_apps(struct run *run);
enum outcome stage_root_app(struct run *run);
enum outcome stage_not_found(struct run *run);
enum outcome stage_response_hooks(struct run *run);
