#include "app/workers.h"

#include <stdio.h>
#include <string.h>

#include "app/pipeline.h"
#include "app/server.h"
#include "app/worker_hooks.h"
#include "base/buf.h"
#include "base/log.h"
#include "conf/manifest.h"
#include "plugin/instance.h"
#include "worker/app.h"
#include "worker/pool.h"

/* --- what the pool tells --- */

static void log_worker(const struct pool_worker *worker, const char *message)
{
    struct buf fields = {0};
    const bool ended = worker->reason != NULL;

    if (!log_enabled(LOG_DEBUG))
        return;
    buf_printf(&fields, "{\"worker\":\"%s\",\"pid\":%d", worker->id, worker->pid);
    if (ended)
        buf_printf(&fields, ",\"reason\":\"%s\",\"served\":%llu", worker->reason,
                   (unsigned long long)worker->served);
    buf_putc(&fields, '}');
    log_write(&(struct log_line){.level = LOG_DEBUG,
                                 .message = message,
                                 .plugin = worker->app->name,
                                 .fields = fields.data});
    buf_fini(&fields);
}

static void on_spawn(void *app, const struct pool_worker *worker)
{
    log_worker(worker, "worker started");
    worker_hooks_tell(app, worker);
}

static void on_terminate(void *app, const struct pool_worker *worker)
{
    log_worker(worker, "worker ended");
    worker_hooks_tell(app, worker);
}

static void on_log(void *app, const struct app *which, const struct log_line *line)
{
    struct log_line traced = *line;

    (void)which;
    traced.trace = pipeline_trace(app, line->request_id);
    log_write(&traced);
}

static void
on_fault(void *app, const struct app *which, const struct err *err, const char *request_id)
{
    (void)app;
    log_err(which->name, request_id, err);
}

struct pool *workers_new(struct server *server, struct err *err)
{
    const struct pool_options options = {
        .loop = server->loop,
        .settings = server->settings,
        .env = &server->env,
        .app = server,
        .on_spawn = on_spawn,
        .on_terminate = on_terminate,
        .on_log = on_log,
        .on_fault = on_fault,
    };

    return pool_new(&options, err);
}

/* Where a process on this machine finds the server. */
static const char *own_host(const char *host)
{
    static const char *const any[] = {"0.0.0.0", "::", "localhost", ""};

    for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
        if (strcmp(host, any[i]) == 0)
            return "127.0.0.1";
    }
    return host;
}

void workers_tell_port(struct server *server)
{
    const char *host = own_host(server->settings->host);
    const bool v6 = strchr(host, ':') != NULL;
    char url[320];

    snprintf(url, sizeof(url), "%s://%s%.256s%s:%u", server->settings->tls_cert ? "https" : "http",
             v6 ? "[" : "", host, v6 ? "]" : "", server->port);
    pool_set_api_url(server->pool, url);
}

/* --- the apps of plugins --- */

void workers_adopt(struct server *server, struct instance *instance)
{
    const struct manifest *manifest = instance->manifest;
    struct app like = {
        .name = (char *)manifest->name,
        .version = (char *)manifest->version,
        .dir = (char *)manifest->dir,
        .base = (char *)manifest->base,
        .manifest = instance->manifest,
    };

    (void)server;
    if (!manifest->entrypoint || manifest->entrypoint_is_html || instance->app)
        return;
    memcpy(like.digest, instance->digest, sizeof(like.digest));
    instance->app = app_new(&like);
}

void workers_retire(struct server *server, struct instance *instance)
{
    if (instance->app)
        pool_retire(server->pool, instance->app);
}

void workers_forget(struct server *server, struct instance *instance)
{
    (void)server;
    app_unref(instance->app);
    instance->app = NULL;
}
