/* buntime serve: a supervisor, and under it the server process: load, listen, run until a signal,
 * drain, shut down.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "app/blackbox.h"
#include "app/command.h"
#include "app/otlp.h"
#include "app/pipeline.h"
#include "app/replicas.h"
#include "app/server.h"
#include "app/supervise.h"
#include "app/uploads.h"
#include "app/watcher.h"
#include "app/worker_hooks.h"
#include "app/workers.h"
#include "base/log.h"
#include "http/server.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/package.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "worker/pool.h"
#include "worker/sandbox.h"

enum { DRAIN_POLL_MS = 20, SHUTDOWN_RESERVE_MS = 200, BEAT_MIN_MS = 10, BEAT_MAX_MS = 1000 };

struct serving {
    struct server server;
    const struct supervised *given;
    struct signal_watch term, interrupt, hangup;
    struct timer poll, beat;
    uint64_t deadline_ms;
    bool cut; /* the drain had to end requests */
    bool watching;
    struct watcher *watcher; /* NULL unless watching */
};

static struct serving *serving_of(struct signal_watch *watch, size_t offset)
{
    return (struct serving *)((char *)watch - offset);
}

static void set_state(struct serving *serving, enum box_state state)
{
    atomic_store(&serving->given->box->state, state);
}

/* --- the heartbeat --- */

static void beat(struct timer *timer)
{
    struct serving *serving = (struct serving *)((char *)timer - offsetof(struct serving, beat));
    const uint64_t quarter = serving->server.settings->watchdog / 4;
    const uint64_t ms = quarter < BEAT_MIN_MS ? BEAT_MIN_MS : quarter;

    atomic_fetch_add(&serving->given->box->beats, 1);
    timer_start(serving->server.loop, timer, ms < BEAT_MAX_MS ? ms : BEAT_MAX_MS);
}

/* --- stopping --- */

static void stopped(void *arg)
{
    struct serving *serving = arg;

    loop_stop(serving->server.loop);
}

static void shut_plugins(void *arg)
{
    struct serving *serving = arg;
    const uint64_t now = loop_now_ms(serving->server.loop);
    const uint64_t left = now < serving->deadline_ms ? serving->deadline_ms - now : 0;

    worker_hooks_flush(&serving->server);
    plugins_shutdown(serving->server.plugins, left ? left : 1, stopped, serving);
}

/* Workers have half of what is left. */
static void shut_workers(struct serving *serving)
{
    const uint64_t now = loop_now_ms(serving->server.loop);
    const uint64_t left = now < serving->deadline_ms ? serving->deadline_ms - now : 0;

    pool_shutdown(serving->server.pool, left / 2, shut_plugins, serving);
}

/* Half of the time is for requests, the rest for onShutdown. */
static void drain(struct timer *timer)
{
    struct serving *serving = (struct serving *)((char *)timer - offsetof(struct serving, poll));
    struct server *server = &serving->server;
    const uint64_t half = server->settings->shutdown_timeout / 2;
    const bool late = loop_now_ms(server->loop) + half >= serving->deadline_ms;

    if (http_server_open_exchanges(server->http) > 0 && late && !serving->cut) {
        serving->cut = true;
        log_printf(LOG_ERROR, "the drain took too long: %u requests are cut", server->run_count);
        pipeline_cut_all(server);
    }
    if (http_server_open_exchanges(server->http) > 0 && !late) {
        timer_start(server->loop, &serving->poll, DRAIN_POLL_MS);
        return;
    }
    shut_workers(serving);
}

static void stop(struct serving *serving, const char *name)
{
    struct server *server = &serving->server;

    if (server->stopping) {
        log_printf(LOG_WARN, "%s again: ending at once", name);
        loop_stop(server->loop);
        return;
    }
    log_printf(LOG_INFO, "%s: draining, then stopping", name);
    server->stopping = true;
    set_state(serving, BOX_STOPPING);
    if (!server->http) { /* still loading */
        loop_stop(server->loop);
        return;
    }
    serving->deadline_ms = loop_now_ms(server->loop) + server->settings->shutdown_timeout;
    if (server->settings->shutdown_timeout > 2 * SHUTDOWN_RESERVE_MS)
        serving->deadline_ms -= SHUTDOWN_RESERVE_MS;
    replicas_leave(server);
    http_server_stop_accepting(server->http);
    otlp_flush(server->otlp);
    pipeline_end_events(server);
    pool_end_events(server->pool);
    serving->poll.fire = drain;
    timer_start(server->loop, &serving->poll, 0);
}

static void on_term(struct signal_watch *watch)
{
    stop(serving_of(watch, offsetof(struct serving, term)), "SIGTERM");
}

static void on_interrupt(struct signal_watch *watch)
{
    stop(serving_of(watch, offsetof(struct serving, interrupt)), "SIGINT");
}

/* --- SIGHUP --- */

static void reloaded(void *arg, const struct reload_result *result)
{
    (void)arg;
    for (size_t i = 0; i < result->len; i++) {
        if (result->items[i].err)
            log_err(result->items[i].name, NULL, result->items[i].err);
    }
    log_printf(result->ok ? LOG_INFO : LOG_WARN, "reloaded: generation %llu, %zu plugins",
               (unsigned long long)result->generation, result->len);
}

static void on_hangup(struct signal_watch *watch)
{
    struct serving *serving = serving_of(watch, offsetof(struct serving, hangup));
    const struct reload_options options = {.only = NULL};

    if (serving->server.stopping)
        return;
    plugins_reload(serving->server.plugins, &options, reloaded, NULL);
    replicas_announce(&serving->server, &options);
}

/* --- starting --- */

static bool watch_signals(struct serving *serving, struct err *err)
{
    struct loop *loop = serving->server.loop;

    serving->term = (struct signal_watch){.on = on_term, .number = SIGTERM};
    serving->interrupt = (struct signal_watch){.on = on_interrupt, .number = SIGINT};
    serving->hangup = (struct signal_watch){.on = on_hangup, .number = SIGHUP};
    return signal_start(loop, &serving->term, err) &&
           signal_start(loop, &serving->interrupt, err) &&
           signal_start(loop, &serving->hangup, err);
}

static bool listen_http(struct serving *serving, struct err *err)
{
    struct server *server = &serving->server;
    const struct settings *settings = server->settings;
    const struct server_options options = {
        .on_request = pipeline_request,
        .app = server,
        .body_limit = settings->body_limit,
        .body_limit_of = uploads_body_limit,
        .client_timeout = settings->client_timeout,
    };

    server->http = http_server_new(server->loop, &options, err);
    if (!server->http || !http_listen(serving->given->listener, err) ||
        !http_server_listen(server->http, serving->given->listener, err))
        return false;
    http_server_set_tls(server->http, server->tls);
    server->port = serving->given->port;
    workers_tell_port(server);
    server_fit_body_limit(server, plugins_generation(server->plugins));
    return true;
}

static void tell_listening(const struct server *server)
{
    char fields[256];
    const struct log_line line = {.level = LOG_INFO, .message = "listening", .fields = fields};

    snprintf(fields, sizeof(fields),
             "{\"url\":\"%s://%s:%u\",\"host\":\"%s\",\"port\":%u,\"pid\":%d,\"version\":\"%s\"}",
             server->tls ? "https" : "http", server->settings->host, server->port,
             server->settings->host, server->port, (int)getpid(), BUNTIME_VERSION);
    log_write(&line);
}

/* Once: what the kernel does not hold worker apps back from. */
static void tell_sandbox(const struct settings *settings)
{
    char missing[256];

    sandbox_missing(SANDBOX_ALL, sandbox_supported(), missing, sizeof(missing));
    if (settings->sandbox == SANDBOX_OFF)
        log_printf(LOG_WARN, "RUNTIME_SANDBOX=off: worker apps may do all that the server may");
    else if (*missing && settings->sandbox == SANDBOX_REQUIRE)
        log_printf(LOG_ERROR, "RUNTIME_SANDBOX=require: this kernel has no sandbox for %s",
                   missing);
    else if (*missing)
        log_printf(LOG_WARN, "worker apps: this kernel has no sandbox for %s", missing);
}

static bool start(struct serving *serving, const struct settings *settings, struct err *err)
{
    const struct generation *g;

    if (!server_init(&serving->server, settings, serving->given->box, err) ||
        !watch_signals(serving, err))
        return false;
    if (settings->watchdog) {
        serving->beat.fire = beat;
        timer_start(serving->server.loop, &serving->beat, 0);
    }
    lag_meter_start(&serving->server.lag, &serving->server);
    packages_sweep(settings);
    if (serving->watching)
        serving->watcher = watcher_new(&serving->server); /* first: no change goes unseen */
    replicas_start(&serving->server);
    if (!server_load(&serving->server, err) || !listen_http(serving, err))
        return false;
    set_state(serving, BOX_UP);
    tell_listening(&serving->server);
    tell_sandbox(settings);
    g = plugins_generation(serving->server.plugins);
    for (size_t i = 0; i < g->len; i++)
        server_tell_started(&serving->server, g->instances[i]);
    return true;
}

static void finish(struct serving *serving)
{
    struct server *server = &serving->server;

    watcher_free(serving->watcher);
    timer_stop(&serving->poll);
    timer_stop(&serving->beat);
    pipeline_cut_all(server);
    if (server->http)
        http_server_free(server->http);
    signal_stop(&serving->term);
    signal_stop(&serving->interrupt);
    signal_stop(&serving->hangup);
    server_fini(server);
}

static int run(const struct settings *settings, const struct supervised *given, bool watching)
{
    static struct serving serving;
    struct err err;
    bool up, ok;

    serving.given = given;
    serving.watching = watching;
    up = start(&serving, settings, &err);
    if (up)
        loop_run(serving.server.loop);
    ok = up || serving.server.stopping; /* told to stop while it was loading */
    if (!ok)
        log_err(NULL, NULL, &err);
    finish(&serving);
    set_state(&serving, ok ? BOX_STOPPED : BOX_START_FAILED);
    if (ok)
        log_printf(LOG_INFO, "stopped");
    return ok ? 0 : 1;
}

static int serve(const struct settings *settings, const struct supervised *given)
{
    return run(settings, given, false);
}

static int develop(const struct settings *settings, const struct supervised *given)
{
    return run(settings, given, true);
}

int command_serve(struct invocation *in)
{
    return supervise(in->settings, serve);
}

int command_dev(struct invocation *in)
{
    return supervise(in->settings, develop);
}
