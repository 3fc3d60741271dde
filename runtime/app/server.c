#include "app/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "app/apps.h"
#include "app/auth.h"
#include "app/blackbox.h"
#include "app/databases.h"
#include "app/keys.h"
#include "app/metrics_page.h"
#include "app/otlp.h"
#include "app/pipeline.h"
#include "app/replicas.h"
#include "app/worker_hooks.h"
#include "app/workers.h"
#include "base/buf.h"
#include "base/log.h"
#include "bind/bind.h"
#include "bind/topics.h"
#include "bind/websocket.h"
#include "conf/manifest.h"
#include "data/cron_book.h"
#include "data/keyring.h"
#include "data/metrics.h"
#include "data/shared.h"
#include "http/exchange.h"
#include "http/gzip.h"
#include "http/server.h"
#include "http/tls.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"
#include "vm/watchdog.h"
#include "worker/pool.h"

/* --- the environment that plugins see --- */

static const char *get_env(const struct env_source *source, const char *name)
{
    const struct server *server =
        (const struct server *)((const char *)source - offsetof(struct server, env));
    const char *value = getenv(name);

    if (strcmp(name, "RUNTIME_ROOT_KEY") == 0)
        return NULL;
    if (!value || !*value)
        value = server->dotenv ? dotenv_get(server->dotenv, name) : NULL;
    return value && *value ? value : NULL;
}

bool server_read_env_file(struct server *server, struct err *err)
{
    struct dotenv *dotenv;

    if (!server->settings->env_file)
        return true;
    dotenv = dotenv_read(server->settings->env_file, err);
    if (!dotenv)
        return false;
    dotenv_free(server->dotenv);
    server->dotenv = dotenv;
    return true;
}

/* --- the certificate --- */

enum { SOON_DAYS = 7 };

static void tell_end(const struct server *server)
{
    const int days = tls_days_left(server->tls);

    if (days < 0)
        log_printf(LOG_WARN, "TLS_CERT: the certificate in %s has expired",
                   server->settings->tls_cert);
    else if (days < SOON_DAYS)
        log_printf(LOG_WARN, "TLS_CERT: the certificate in %s expires in %d days",
                   server->settings->tls_cert, days);
}

bool server_read_tls(struct server *server, struct err *err)
{
    struct tls *tls;
    const bool first = !server->tls;

    if (!server->settings->tls_cert)
        return true;
    tls = tls_load(server->settings->tls_cert, server->settings->tls_key, err);
    if (!tls)
        return false;
    if (!first && tls_equal(tls, server->tls)) { /* its session tickets stay good */
        tls_unref(tls);
        return true;
    }
    tls_unref(server->tls);
    server->tls = tls;
    if (server->http)
        http_server_set_tls(server->http, tls);
    if (!first)
        log_printf(LOG_INFO, "new connections get the new certificate");
    tell_end(server);
    return true;
}

static void before_reload(void *app)
{
    struct err err;

    if (!server_read_env_file(app, &err))
        log_err(NULL, NULL, &err);
    if (!server_read_tls(app, &err))
        log_err(NULL, NULL, &err);
}

/* --- what the plugins tell --- */

static void on_fault(void *app,
                     const struct instance *instance,
                     const struct err *err,
                     const char *phase,
                     const char *request_id)
{
    struct buf fields = {0};
    struct log_line line = {
        .level = LOG_ERROR,
        .message = err->message,
        .plugin = instance->name,
        .request_id = request_id,
        .trace = pipeline_trace(app, request_id),
        .traceback = err->traceback,
    };

    buf_puts(&fields, "{\"code\":");
    buf_json_string(&fields, str_of(err->code));
    buf_printf(&fields, ",\"phase\":\"%s\"", phase);
    if (*err->file) {
        buf_puts(&fields, ",\"file\":");
        buf_json_string(&fields, str_of(err->file));
        buf_printf(&fields, ",\"line\":%u", err->line);
    }
    buf_putc(&fields, '}');
    line.fields = fields.data;
    log_write(&line);
    buf_fini(&fields);
}

static void on_notice(void *app, enum log_level level, const char *plugin, const char *message)
{
    const struct log_line line = {.level = level, .message = message, .plugin = plugin};

    (void)app;
    log_write(&line);
}

/* --- what the supervisor is told, and tells --- */

static uint32_t mark(void *app, const char *name, const char *digest)
{
    const struct server *server = app;

    return server->box ? blackbox_mark(server->box, name, digest) : 0;
}

static bool quarantined(void *app, const char *name, const char *digest)
{
    const struct server *server = app;

    return server->box && blackbox_quarantined(server->box, name, digest);
}

static void cut(void *app, struct instance *instance)
{
    pipeline_cut(app, instance);
}

static void on_drain(void *app, struct instance *instance)
{
    bind_sockets_drain(instance->vm);
    workers_retire(app, instance);
}

static void on_gone(void *app, struct instance *instance)
{
    workers_forget(app, instance);
}

/* --- onServerStart --- */

static void server_started(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct instance *instance = arg;

    (void)task;
    if (!ok)
        plugins_fault(instance, err, "onServerStart", NULL);
    plugins_call_done(instance);
    instance_unref(instance);
}

static int push_server(lua_State *L, void *arg)
{
    const struct server *server = arg;

    lua_createtable(L, 0, 2);
    lua_pushinteger(L, server->port);
    lua_setfield(L, -2, "port");
    bind_push_publish(L);
    lua_setfield(L, -2, "publish");
    return 1;
}

void server_tell_started(struct server *server, struct instance *instance)
{
    struct task *task;
    struct err err;

    if (!server->port || !instance->vm || !instance_has(instance, ENTRY_SERVER_START))
        return;
    task = instance_task(instance, ENTRY_SERVER_START, &err);
    if (!task || !vm_protect(task_state(task), push_server, server, 1, &err)) {
        plugins_fault(instance, &err, "onServerStart", NULL);
        return;
    }
    instance_ref(instance);
    instance->calls++;
    task_start(task, 1, server_started, instance);
}

static void on_live(void *app, struct instance *instance)
{
    workers_adopt(app, instance);
    server_tell_started(app, instance);
}

void server_fit_body_limit(struct server *server, const struct generation *generation)
{
    size_t limit = server->settings->body_limit;

    if (!server->http)
        return;
    for (size_t i = 0; i < generation->len; i++) {
        const size_t wanted = generation->instances[i]->manifest->max_body_size;
        limit = wanted > limit ? wanted : limit;
    }
    if (apps_body_limit(server) > limit)
        limit = apps_body_limit(server);
    http_server_set_body_limit(server->http, limit);
}

static void on_swap(void *app, struct generation *generation)
{
    server_fit_body_limit(app, generation);
}

static void tell_status(void *app, struct server_status *status)
{
    const struct server *server = app;

    status->stopping = server->stopping;
    status->started_ms = server->started_ms;
    status->now_ms = clock_now_ns() / 1000000;
    status->other_lag = &server->lag.other;
}

/* --- the control plane --- */

static int load_control(lua_State *L, void *arg)
{
    struct instance *control = arg;

    lua_getglobal(L, "require");
    lua_pushliteral(L, "buntime.api.entry");
    lua_call(L, 1, 1);
    luaL_checktype(L, -1, LUA_TFUNCTION);
    control->entry[ENTRY_ROUTES] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static bool open_control(struct server *server, struct err *err)
{
    server->control = instance_new(server->plugins, NULL, NULL, "buntime");
    server->control->state = INSTANCE_LIVE;
    return instance_open_vm(server->control, err) &&
           vm_protect(vm_main(server->control->vm), load_control, server->control, 0, err);
}

static bool open_watchdog(struct server *server, struct err *err)
{
    const struct watchdog_options options = {
        .limit_ms = server->settings->watchdog,
        .lag_ms = server->settings->lag_warn,
        .lagged = lag_told,
        .arg = server,
        .record = server->box ? &server->box->record : NULL,
    };

    server->watchdog = watchdog_new(&options, err);
    return server->watchdog != NULL;
}

/* --- the whole --- */

bool server_init(struct server *server,
                 const struct settings *settings,
                 struct blackbox *box,
                 struct err *err)
{
    struct plugins_options options = {
        .settings = settings,
        .env = &server->env,
        .open = bind_open,
        .app = server,
        .on_fault = on_fault,
        .on_notice = on_notice,
        .cut = cut,
        .on_drain = on_drain,
        .on_gone = on_gone,
        .on_swap = on_swap,
        .on_live = on_live,
        .authorize = auth_authorize,
        .login = auth_login,
        .status = tell_status,
        .write_metrics = metrics_page,
        .before_reload = before_reload,
        .mark = mark,
        .quarantined = quarantined,
    };

    *server = (struct server){.settings = settings, .box = box, .env = {get_env}};
    server->started_ms = clock_now_ns() / 1000000;
    if (!server_read_env_file(server, err) || !server_read_tls(server, err))
        return false;
    server->loop = loop_new(err);
    if (!server->loop)
        return false;
    if (!open_watchdog(server, err))
        return false;
    if (!databases_open(server, err))
        return false;
    options.redis = server->redis;
    server->shared = shared_new(server->loop, SHARED_BYTES);
    server->cron = cron_book_new();
    replicas_init(server, &options);
    options.loop = server->loop;
    options.shared = server->shared;
    options.cron = server->cron;
    options.metrics = server->metrics = metrics_new();
    server->otlp = otlp_new(server->loop, settings);
    options.topics = server->topics = topics_new(server->loop, server->redis ? server->bus : NULL);
    server->gzip = gzip_cache_new((size_t)16 << 20);
    options.keyring = server->keyring = keys_open(server);
    options.watchdog = server->watchdog;
    apps_init(server, &options);
    worker_hooks_init(server);
    options.pool = server->pool = workers_new(server, err);
    server->plugins = plugins_new(&options);
    if (!server->pool)
        return false;
    return open_control(server, err);
}

void server_fini(struct server *server)
{
    lag_meter_stop(&server->lag);
    if (server->plugins) {
        instance_unref(server->control);
        plugins_free(server->plugins);
        server->plugins = NULL;
    }
    apps_fini(server);
    pool_free(server->pool);
    worker_hooks_fini(server);
    shared_free(server->shared);
    cron_book_free(server->cron);
    metrics_free(server->metrics);
    otlp_free(server->otlp);
    topics_free(server->topics);
    pipeline_free_spares(server);
    watchdog_free(server->watchdog);
    auth_fini(server);
    keyring_free(server->keyring);
    replicas_fini(server);
    databases_close(server);
    if (server->loop)
        loop_free(server->loop);
    gzip_cache_free(server->gzip); /* threads of the loop have used it */
    tls_unref(server->tls);
    dotenv_free(server->dotenv);
}

struct loading {
    bool done, ok;
};

static void loaded(void *arg, const struct reload_result *result)
{
    struct loading *loading = arg;

    loading->done = true;
    loading->ok = result->ok;
    for (size_t i = 0; i < result->len; i++) {
        const struct reload_item *item = &result->items[i];
        if (item->err)
            log_err(item->name, NULL, item->err);
        else if (item->status == PLUGIN_LOADED)
            server_log_loaded(item);
    }
}

void server_log_loaded(const struct reload_item *item)
{
    char fields[256];
    const struct log_line line = {
        .level = LOG_INFO, .message = "plugin loaded", .plugin = item->name, .fields = fields};

    snprintf(fields, sizeof(fields), "{\"base\":\"%s\",\"initMs\":%llu}",
             item->base ? item->base : "", (unsigned long long)item->init_ms);
    log_write(&line);
}

bool server_load(struct server *server, struct err *err)
{
    const struct reload_options options = {.only = NULL};
    struct loading loading = {false, false};

    if (!keys_load(server, err))
        return false;
    plugins_reload(server->plugins, &options, loaded, &loading);
    while (!loading.done && loop_turn(server->loop, 1000))
        continue;
    if (!loading.done)
        return err_set(err, "STOPPED", "the loop ended while the plugins were loading");
    return true;
}
