#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/otlp.h"
#include "app/pipeline_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/metrics.h"
#include "http/static.h"
#include "http/trace.h"
#include "plugin/generation.h"
#include "vm/task.h"
#include "worker/pool.h"
#include "worker/registry.h"

/* --- the run's life --- */

struct run *run_new(struct server *server, struct exchange *x)
{
    struct run *run = server->spare;

    if (run)
        server->spare = run->next;
    else
        run = mem_alloc(sizeof(*run));
    *run = (struct run){.server = server, .x = x, .refs = 1, .next = server->runs};
    if (server->runs)
        server->runs->prev = run;
    server->runs = run;
    server->run_count++;
    return run;
}

void run_unref(struct run *run)
{
    struct server *server = run->server;

    if (--run->refs > 0)
        return;
    run->next = server->spare;
    server->spare = run;
}

static void unlink_run(struct run *run)
{
    struct server *server = run->server;

    if (run->prev)
        run->prev->next = run->next;
    else
        server->runs = run->next;
    if (run->next)
        run->next->prev = run->prev;
    server->run_count--;
}

void run_leave_instance(struct run *run)
{
    bind_request_close(run->request);
    run->request = NULL;
    run->task = NULL;
    if (run->in)
        instance_unref(run->in);
    run->in = NULL;
}

void run_end(struct run *run)
{
    unlink_run(run);
    generation_unref(run->generation);
    app_set_unref(run->apps);
    run->generation = NULL;
    run->apps = NULL;
    run->x = NULL;
    run_unref(run);
}

void run_abandon_task(struct run *run, const char *reason)
{
    struct task *task = run->task;
    struct instance *in = run->in;

    if (!task)
        return;
    instance_ref(in);
    run_leave_instance(run);
    task_set_request_id(task, NULL);
    task_set_trace(task, NULL);
    task_cancel(task, reason);
    instance_unref(in);
}

void run_leave_worker(struct run *run)
{
    if (run->worker)
        pool_call_cancel(run->worker);
    run->worker = NULL;
}

/* --- counting --- */

enum { STATUS_CLIENT_GONE = 499 };

/* For answers that come from no route: by what made them. */
static struct metric_route *series_of(struct run *run)
{
    struct metrics *metrics = run->server->metrics;

    return metrics_route(metrics, "", STR(""), STR(""));
}

static void add_span(const struct run *run, unsigned status, uint64_t ns)
{
    const struct otlp_span span = {
        .trace = run->trace,
        .method = exchange_method(run->x),
        .path = exchange_path(run->x),
        .plugin = metric_plugin(run->series),
        .route = metric_pattern(run->series),
        .request_id = exchange_id(run->x).at,
        .status = status,
        .ns = ns,
    };

    otlp_add(run->server->otlp, &span);
}

void run_count(struct run *run, unsigned status)
{
    if (!run->series)
        run->series = series_of(run);
    const uint64_t ns = clock_now_ns() - run->started_ns;

    metric_count(run->series, status, ns);
    if (run->trace && run->server->otlp)
        add_span(run, status, ns);
}

void run_note_series(struct run *run)
{
    struct metrics *metrics = run->server->metrics;

    if (run->entry == ENTRY_RESPONSE_HOOK)
        return;
    run->series = bind_request_series(run->request);
    if (!run->series)
        run->series = metrics_route(metrics, run->in->name, STR(""), str_of(run_phase(run)));
}

void run_client_gone(struct exchange *x, void *owner)
{
    struct run *run = owner;

    (void)x;
    if (run->task)
        run_note_series(run);
    run_count(run, STATUS_CLIENT_GONE); /* the request side is still there */
    run->x = NULL;
    if (run->look)
        static_look_cancel(run->look);
    run_leave_worker(run);
    run_abandon_task(run, "the client is gone");
    run_end(run);
}

void run_log(const struct run *run)
{
    const struct str method = exchange_method(run->x), path = exchange_path(run->x);
    char message[512], fields[96];
    const struct log_line line = {.level = LOG_DEBUG,
                                  .message = message,
                                  .request_id = exchange_id(run->x).at,
                                  .trace = run->trace ? run->trace->text : NULL,
                                  .fields = fields};

    snprintf(message, sizeof(message), "%.*s %.*s", (int)(method.len < 32 ? method.len : 32),
             method.at, (int)(path.len < 400 ? path.len : 400), path.at);
    snprintf(fields, sizeof(fields), "{\"status\":%u,\"durationMs\":%.3f}", exchange_status(run->x),
             (double)(clock_now_ns() - run->started_ns) / 1e6);
    log_write(&line);
}
