#include "app/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "app/pipeline_impl.h"
#include "base/log.h"
#include "bind/session_cookie.h"
#include "bind/stream.h"
#include "bind/websocket.h"
#include "http/trace.h"
#include "http/websocket.h"
#include "plugin/generation.h"
#include "plugin/plugins.h"
#include "vm/task.h"
#include "worker/registry.h"

static enum outcome send(struct run *run)
{
    struct exchange *x = run->x;

    run_count(run, exchange_status(x));
    if (log_enabled(LOG_DEBUG))
        run_log(run);
    run->x = NULL;
    exchange_send(x);
    return SENT;
}

struct stage {
    const char *name;
    enum outcome (*enter)(struct run *run);
    bool plugins; /* not for the control plane's own requests, which hold no generation */
};

static const struct stage stages[] = {
    {"control plane", stage_control_plane, false},
    {"body limit", stage_body_limit, true},
    {"onRequest", stage_request_hooks, true},
    {"server.routes", stage_server_routes, true},
    {"server.fetch", stage_server_fetch, true},
    {"routes", stage_plugin_routes, true},
    {"root", stage_root_routes, true},
    {"apps", stage_plugin_apps, true},
    {"worker apps", stage_worker_apps, true},
    {"root app", stage_root_app, true},
    {"not found", stage_not_found, false},
    {"onResponse", stage_response_hooks, true},
    {"send", send, false},
};

enum { STAGE_RESPONSE_HOOKS = 11, STAGE_SEND = 12 };

static void advance(struct run *run)
{
    const size_t answered = run->stage < STAGE_RESPONSE_HOOKS ? STAGE_RESPONSE_HOOKS : STAGE_SEND;

    if (run->outcome == AGAIN)
        return;
    run->stage = run->outcome == ANSWERED ? answered : run->stage + 1;
    run->index = 0;
}

void run_step(struct run *run)
{
    run->refs++;
    run->stepping = true;
    do {
        advance(run);
        if (stages[run->stage].plugins && !run->generation)
            run->outcome = NEXT;
        else
            run->outcome = stages[run->stage].enter(run);
    } while (run->outcome != WAIT && run->outcome != SENT);
    run->stepping = false;
    if (run->outcome == SENT)
        run_end(run);
    run_unref(run);
}

static bool is_control(const struct server *server, struct str path)
{
    return path_below(path, server->settings->api_prefix, "/api") ||
           str_equal(path, STR("/.well-known/buntime"));
}

static void take_current(struct run *run)
{
    run->generation = generation_ref(plugins_generation(run->server->plugins));
    run->apps = app_set_ref(registry_set(run->server->registry));
}

/* The client's trace, with a span of ours, or one of our own for the collector. What is handed on,
 * the plugin's view included, names our span.
 */
static void take_trace(struct run *run)
{
    struct server *server = run->server;
    const struct str header = exchange_header(run->x, STR("traceparent"));
    struct trace trace;

    if (!header.at && !server->otlp)
        return;
    if (!trace_join(&trace, header, &server->random)) {
        if (!server->otlp)
            return;
        trace_begin(&trace, &server->random);
    }
    run->trace = exchange_alloc(run->x, sizeof(trace));
    *run->trace = trace;
    exchange_set_header(run->x, STR("traceparent"), str_of(run->trace->text));
}

const char *pipeline_trace(const struct server *server, const char *request_id)
{
    for (const struct run *run = request_id ? server->runs : NULL; run; run = run->next) {
        if (run->x && run->trace && strcmp(exchange_id(run->x).at, request_id) == 0)
            return run->trace->text;
    }
    return NULL;
}

void pipeline_request(void *arg, struct exchange *x)
{
    struct server *server = arg;
    struct run *run = run_new(server, x);

    exchange_watch(x, run_client_gone, run);
    session_cookie_take(x);
    run->started_ns = clock_now_ns();
    take_trace(run);
    if (!is_control(server, exchange_path(x)))
        take_current(run);
    run->outcome = AGAIN;
    run_step(run);
}

/* --- cutting --- */

static void cut(struct run *run)
{
    run_abandon_task(run, "the plugin was replaced and the request took too long");
    run_leave_worker(run);
    exchange_respond_error(run->x, 503, "PLUGIN_RELOADED",
                           "The plugin was replaced before it answered", NULL);
    run->stage = STAGE_SEND;
    run->outcome = AGAIN;
    run_step(run);
}

/* NULL stands for every instance. */
static bool waits_for(const struct run *run, const struct instance *instance)
{
    if (run->worker)
        return !instance || run->by.in == instance;
    return run->task && task_waiting(run->task) && (!instance || run->in == instance);
}

static void cut_where(struct server *server, const struct instance *instance)
{
    struct run *run, *next;

    for (run = server->runs; run; run = next) {
        next = run->next;
        if (waits_for(run, instance))
            cut(run);
    }
}

void pipeline_cut(struct server *server, struct instance *instance)
{
    cut_where(server, instance);
    bind_streams_cut(instance->vm, "the plugin was replaced and the stream took too long");
    bind_sockets_close(instance->vm, WEBSOCKET_RESTART, "the plugin was replaced");
}

void pipeline_end_events(struct server *server)
{
    const struct generation *g = plugins_generation(server->plugins);

    for (size_t i = 0; g && i < g->len; i++) {
        struct vm *vm = g->instances[i]->vm;
        bind_streams_end_events(vm, "the server is shutting down");
        bind_sockets_close(vm, WEBSOCKET_GOING_AWAY, "the server is shutting down");
    }
}

void pipeline_cut_all(struct server *server)
{
    cut_where(server, NULL);
}

void pipeline_free_spares(struct server *server)
{
    while (server->spare) {
        struct run *run = server->spare;
        server->spare = run->next;
        free(run);
    }
}
