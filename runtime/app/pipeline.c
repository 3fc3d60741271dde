#include "app/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/apps.h"
#include "app/failure.h"
#include "app/otlp.h"
#include "app/server.h"
#include "app/target.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "bind/call.h"
#include "bind/session_cookie.h"
#include "bind/stream.h"
#include "bind/websocket.h"
#include "conf/manifest.h"
#include "data/files.h"
#include "data/metrics.h"
#include "http/exchange.h"
#include "http/static.h"
#include "http/trace.h"
#include "http/websocket.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/task.h"
#include "worker/app.h"
#include "worker/pool.h"
#include "worker/registry.h"

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
    bool stepping, response_done;
    uint64_t started_ns;
    struct metric_route *series; /* what answered, as it is counted */
    struct trace *trace;         /* the exchange's memory; NULL: it belongs to none */
    unsigned refs;
    struct run *prev, *next;
};

struct stage {
    const char *name;
    enum outcome (*enter)(struct run *run);
    bool plugins; /* not for the control plane's own requests, which hold no generation */
};

static void step(struct run *run);
static const char *phase_of(enum entry entry);

/* --- the run's life --- */

static struct run *new_run(struct server *server, struct exchange *x)
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

static void unref_run(struct run *run)
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

static void leave_instance(struct run *run)
{
    bind_request_close(run->request);
    run->request = NULL;
    run->task = NULL;
    if (run->in)
        instance_unref(run->in);
    run->in = NULL;
}

/* The request is over: what it held goes. */
static void end_run(struct run *run)
{
    unlink_run(run);
    generation_unref(run->generation);
    app_set_unref(run->apps);
    run->generation = NULL;
    run->apps = NULL;
    run->x = NULL;
    unref_run(run);
}

/* Takes the run away from its task, which is cancelled and may end whenever it likes. */
static void abandon_task(struct run *run, const char *reason)
{
    struct task *task = run->task;
    struct instance *in = run->in;

    if (!task)
        return;
    instance_ref(in);
    leave_instance(run);
    task_set_request_id(task, NULL);
    task_set_trace(task, NULL);
    task_cancel(task, reason);
    instance_unref(in);
}

static void leave_worker(struct run *run)
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

static void count(struct run *run, unsigned status)
{
    if (!run->series)
        run->series = series_of(run);
    const uint64_t ns = clock_now_ns() - run->started_ns;

    metric_count(run->series, status, ns);
    if (run->trace && run->server->otlp)
        add_span(run, status, ns);
}

static void note_series(struct run *run)
{
    struct metrics *metrics = run->server->metrics;

    if (run->entry == ENTRY_RESPONSE_HOOK)
        return;
    run->series = bind_request_series(run->request);
    if (!run->series)
        run->series = metrics_route(metrics, run->in->name, STR(""), str_of(phase_of(run->entry)));
}

static void client_gone(struct exchange *x, void *owner)
{
    struct run *run = owner;

    (void)x;
    if (run->task)
        note_series(run);
    count(run, STATUS_CLIENT_GONE); /* the request side is still there */
    run->x = NULL;
    if (run->look)
        static_look_cancel(run->look);
    leave_worker(run);
    abandon_task(run, "the client is gone");
    end_run(run);
}

/* --- answers of our own --- */

static bool in_development(const struct run *run)
{
    return run->server->settings->env == ENV_DEVELOPMENT;
}

static void respond_failure(struct run *run, const struct err *err)
{
    failure_respond(run->x, err, run->in ? run->in->name : "", in_development(run));
}

/* --- calling plugins --- */

static const char *phase_of(enum entry entry)
{
    static const char *const phases[ENTRY_COUNT] = {
        [ENTRY_ROUTES] = "request",
        [ENTRY_SERVER_ROUTES] = "request",
        [ENTRY_SERVER_FETCH] = "server.fetch",
        [ENTRY_REQUEST_HOOK] = "onRequest",
        [ENTRY_RESPONSE_HOOK] = "onResponse",
    };

    return phases[entry] ? phases[entry] : "request";
}

static enum outcome failed(struct run *run, const struct err *err)
{
    struct instance *in = run->in;

    if (run->entry != ENTRY_REQUEST_HOOK && run->entry != ENTRY_RESPONSE_HOOK &&
        bind_error_response(task_state(run->task), run->x))
        return ANSWERED; /* an error that says itself what to answer */
    plugins_fault(in, err, phase_of(run->entry), exchange_id(run->x).at);
    if (run->entry == ENTRY_RESPONSE_HOOK)
        return AGAIN; /* the last good response goes out */
    if (run->entry != ENTRY_REQUEST_HOOK) {
        respond_failure(run, err);
        return ANSWERED;
    }
    if (in->hook_fail_open)
        return AGAIN;
    if (strcmp(err->code, "HANDLER_TIMEOUT") == 0) {
        respond_failure(run, err);
        return ANSWERED;
    }
    exchange_respond_error(run->x, 503, "PLUGIN_ONREQUEST_FAILED",
                           "A request hook failed, so the request was not let through", NULL);
    return ANSWERED;
}

static void answered_by(struct run *run, const struct instance *in, enum bind_kind kind)
{
    run->by = (struct bind_target){.in = in, .kind = kind};
}

static enum outcome succeeded(struct run *run)
{
    enum outcome no = run->entry == ENTRY_ROUTES ? NEXT : AGAIN;

    if (bind_result(task_state(run->task)) != BIND_ANSWERED)
        return no;
    if (run->entry != ENTRY_REQUEST_HOOK)
        answered_by(run, run->in, BIND_PLUGIN);
    return ANSWERED;
}

static void called(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct run *run = arg;

    if (run->task == task) {
        run->outcome = ok ? succeeded(run) : failed(run, err);
        if (run->outcome == ANSWERED)
            note_series(run);
        leave_instance(run);
        if (!run->stepping)
            step(run);
    }
    unref_run(run);
}

/* The call could not even begin. */
static enum outcome not_started(struct run *run, struct instance *in, const struct err *err)
{
    plugins_fault(in, err, phase_of(run->entry), exchange_id(run->x).at);
    if (run->entry == ENTRY_RESPONSE_HOOK)
        return AGAIN;
    if (strcmp(err->code, "OUT_OF_MEMORY") == 0)
        respond_failure(run, err);
    else
        exchange_respond_error(run->x, 503, "PLUGIN_NOT_LOADED", "The plugin cannot answer now",
                               NULL);
    return ANSWERED;
}

static struct bind_target target_of(const struct run *run);

/* Calls `in`, with `strip` bytes of the path hidden and, for hooks, what is going to answer. */
static enum outcome
call(struct run *run, struct instance *in, enum entry entry, size_t strip, bool with_app)
{
    struct task *task;
    struct err err;
    int nargs = 1;

    run->entry = entry;
    if (!in->vm && entry == ENTRY_RESPONSE_HOOK)
        return AGAIN; /* it was replaced and is gone; the answer stands */
    task = instance_task(in, entry, &err);
    if (!task)
        return not_started(run, in, &err);
    if (in->plugin && entry != ENTRY_REQUEST_HOOK && entry != ENTRY_RESPONSE_HOOK)
        in->plugin->requests++;
    run->in = instance_ref(in);
    run->task = task;
    run->request = bind_request_push(task_state(task), run->x, strip);
    if (with_app) {
        const struct bind_target target = target_of(run);
        bind_push_app(task_state(task), &target);
        nargs = 2;
    }
    task_set_request_id(task, exchange_id(run->x).at);
    task_set_trace(task, run->trace ? run->trace->text : NULL);
    task_set_phase(task, phase_of(entry));
    run->refs++;
    run->outcome = WAIT;
    task_start(task, nargs, called, run);
    return run->outcome;
}

/* --- who is going to answer --- */

static struct bind_target target_of(const struct run *run)
{
    struct bind_target target = run->by;

    if (!target.in && !target.app)
        target_find(run->generation, run->apps, run->x, &target);
    return target;
}

/* --- stages --- */

static bool below(struct str path, const char *prefix, const char *rest)
{
    const size_t a = strlen(prefix), b = strlen(rest);

    return path.len >= a + b && memcmp(path.at, prefix, a) == 0 &&
           memcmp(path.at + a, rest, b) == 0 && (path.len == a + b || path.at[a + b] == '/');
}

static bool is_control(const struct server *server, struct str path)
{
    return below(path, server->settings->api_prefix, "/api") ||
           str_equal(path, STR("/.well-known/buntime"));
}

/* The control plane and discovery: its own VM, and no plugin sees it. */
static enum outcome control_plane(struct run *run)
{
    const struct str path = exchange_path(run->x);
    const size_t prefix = strlen(run->server->settings->api_prefix);

    if (run->generation)
        return NEXT;
    return call(run, run->server->control, ENTRY_ROUTES,
                str_starts(path, STR("/.well-known/")) ? 0 : prefix, false);
}

/* The limit of who answers; the listener let in what the most generous one takes. */
static enum outcome body_limit(struct run *run)
{
    struct bind_target target;
    size_t limit = run->server->settings->body_limit;

    if (exchange_body(run->x).len == 0)
        return NEXT;
    target = target_of(run);
    if (target_manifest(&target) && target_manifest(&target)->max_body_size)
        limit = target_manifest(&target)->max_body_size;
    if (exchange_body(run->x).len <= limit)
        return NEXT;
    exchange_respond_error(run->x, 413, "BODY_TOO_LARGE", "The request body is too large", NULL);
    return ANSWERED;
}

static enum outcome request_hooks(struct run *run)
{
    const struct generation *g = run->generation;

    while (run->index < g->request_hook_count) {
        struct instance *in = g->request_hooks[run->index++];
        if (in->hook_public || !target_is_public(run->generation, run->apps, run->x))
            return call(run, in, ENTRY_REQUEST_HOOK, 0, true);
    }
    return NEXT;
}

static enum outcome server_routes(struct run *run)
{
    const struct generation *g = run->generation;

    if (run->index >= g->server_route_count)
        return NEXT;
    return call(run, g->server_routes[run->index++], ENTRY_SERVER_ROUTES, 0, false);
}

static enum outcome server_fetch(struct run *run)
{
    const struct generation *g = run->generation;

    if (run->index >= g->server_fetch_count)
        return NEXT;
    return call(run, g->server_fetches[run->index++], ENTRY_SERVER_FETCH, 0, false);
}

static enum outcome plugin_routes(struct run *run)
{
    struct instance *in = generation_by_base(run->generation, exchange_path(run->x));

    if (!in || !instance_has(in, ENTRY_ROUTES))
        return NEXT;
    return call(run, in, ENTRY_ROUTES, strlen(in->manifest->base), false);
}

static enum outcome root_routes(struct run *run)
{
    struct instance *in = run->generation->root;

    if (!in || !instance_has(in, ENTRY_ROUTES))
        return NEXT;
    return call(run, in, ENTRY_ROUTES, 0, false);
}

static void looked(bool answered, void *arg)
{
    struct run *run = arg;

    run->look = NULL;
    run->outcome = answered ? ANSWERED : NEXT;
    step(run);
}

/* A page and its folder, without any Lua. */
static enum outcome serve_site(struct run *run, const struct manifest *manifest, const char *base)
{
    static const struct file_opener opener = {files_root, files_open};
    const struct static_site site = {.opener = &opener,
                                     .dir = manifest->dir,
                                     .entry = manifest->entrypoint,
                                     .base = base,
                                     .gzip = run->server->gzip};
    bool answered;

    run->look = static_look_start(run->server->loop, &site, run->x, looked, run, &answered);
    run->series = metrics_route(run->server->metrics, manifest->name, STR(""), STR("(static)"));
    if (run->look)
        return WAIT;
    return answered ? ANSWERED : NEXT;
}

static void worked(bool answered, void *arg)
{
    struct run *run = arg;

    run->worker = NULL;
    run->outcome = answered ? ANSWERED : NEXT;
    if (answered)
        exchange_res_set_header(run->x, STR("x-base"), exchange_header(run->x, STR("x-base")));
    step(run);
}

/* `strip` bytes of the path are the app's base, which it is told in X-Base. */
static enum outcome ask_worker(struct run *run, struct app *app, size_t strip)
{
    const struct str base = {exchange_path(run->x).at, strip};

    exchange_set_header(run->x, STR("x-base"), strip > 0 ? base : STR("/"));
    run->series = metrics_route(run->server->metrics, app->name, STR(""), STR("(worker)"));
    run->worker = pool_call(run->server->pool, app, run->x, strip, worked, run);
    return WAIT;
}

/* The app of a plugin, at `base`. */
static enum outcome serve_app(struct run *run, const struct instance *in, const char *base)
{
    if (!in->app && !in->manifest->entrypoint_is_html)
        return NEXT;
    answered_by(run, in, in->app ? BIND_WORKER : BIND_STATIC);
    if (!apps_admit(run->server, in->manifest, run->x))
        return ANSWERED;
    return in->app ? ask_worker(run, in->app, strlen(base)) : serve_site(run, in->manifest, base);
}

static enum outcome plugin_apps(struct run *run)
{
    const struct instance *in = generation_by_base(run->generation, exchange_path(run->x));

    return in ? serve_app(run, in, in->manifest->base) : NEXT;
}

/* The app of when the request began; if a reload has taken that away meanwhile, while a hook
 * waited, its files are gone with it, so the one of now.
 */
static struct app *current_app(struct run *run, struct str path, size_t *base_len)
{
    struct app *app = app_set_find(run->apps, path, base_len);

    if (!app || !app->retired)
        return app;
    app_set_unref(run->apps);
    run->apps = app_set_ref(registry_set(run->server->registry));
    return app_set_find(run->apps, path, base_len);
}

static enum outcome worker_apps(struct run *run)
{
    const struct str path = exchange_path(run->x);
    size_t base_len;
    struct app *app = current_app(run, path, &base_len);
    char *base;

    if (!app)
        return NEXT;
    target_set_app(app, (struct str){path.at, base_len}, &run->by);
    if (!apps_admit(run->server, app->manifest, run->x))
        return ANSWERED;
    if (path.len == base_len) {
        apps_respond_slash(run->x);
        return ANSWERED;
    }
    if (!app->manifest->entrypoint_is_html)
        return ask_worker(run, app, base_len);
    base = exchange_alloc(run->x, base_len + 1);
    memcpy(base, path.at, base_len);
    return serve_site(run, app->manifest, base);
}

/* "/" comes last, so that its page does not stand in front of every app. */
static enum outcome root_app(struct run *run)
{
    const struct instance *in = run->generation->root;

    return in ? serve_app(run, in, "") : NEXT;
}

/* A critical plugin that is not loaded answers 503 at its base, not 404. */
static bool is_missing_critical(struct run *run)
{
    const struct str path = exchange_path(run->x);

    for (struct plugin *p = plugins_first(run->server->plugins); p; p = p->next) {
        if (p->live || !p->manifest || !p->manifest->critical || !p->base || !p->enabled)
            continue;
        if (strcmp(p->base, "/") == 0 || below(path, p->base, ""))
            return true;
    }
    return false;
}

static enum outcome not_found(struct run *run)
{
    run->by = (struct bind_target){.in = NULL};
    run->series = NULL;
    if (is_missing_critical(run))
        exchange_respond_error(run->x, 503, "PLUGIN_NOT_LOADED",
                               "The plugin that answers here is not loaded", NULL);
    else
        exchange_respond_error(run->x, 404, "NOT_FOUND", "Nothing answers here", NULL);
    return ANSWERED;
}

static enum outcome response_hooks(struct run *run)
{
    const struct generation *g = run->generation;

    if (run->index >= g->response_hook_count)
        return NEXT;
    return call(run, g->response_hooks[run->index++], ENTRY_RESPONSE_HOOK, 0, true);
}

static void log_request(const struct run *run)
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

static enum outcome send(struct run *run)
{
    struct exchange *x = run->x;

    count(run, exchange_status(x));
    if (log_enabled(LOG_DEBUG))
        log_request(run);
    run->x = NULL;
    exchange_send(x);
    return SENT;
}

static const struct stage stages[] = {
    {"control plane", control_plane, false},
    {"body limit", body_limit, true},
    {"onRequest", request_hooks, true},
    {"server.routes", server_routes, true},
    {"server.fetch", server_fetch, true},
    {"routes", plugin_routes, true},
    {"root", root_routes, true},
    {"apps", plugin_apps, true},
    {"worker apps", worker_apps, true},
    {"root app", root_app, true},
    {"not found", not_found, false},
    {"onResponse", response_hooks, true},
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

/* Walks the stages until one waits or the response is sent. */
static void step(struct run *run)
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
        end_run(run);
    unref_run(run);
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
    struct run *run = new_run(server, x);

    exchange_watch(x, client_gone, run);
    session_cookie_take(x);
    run->started_ns = clock_now_ns();
    take_trace(run);
    if (!is_control(server, exchange_path(x)))
        take_current(run);
    run->outcome = AGAIN;
    step(run);
}

/* --- cutting --- */

static void cut(struct run *run)
{
    abandon_task(run, "the plugin was replaced and the request took too long");
    leave_worker(run);
    exchange_respond_error(run->x, 503, "PLUGIN_RELOADED",
                           "The plugin was replaced before it answered", NULL);
    run->stage = STAGE_SEND;
    run->outcome = AGAIN;
    step(run);
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
