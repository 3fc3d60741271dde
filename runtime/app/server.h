/* The serving process: everything hangs off this struct. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/lag.h"
#include "base/err.h"
#include "base/random.h"
#include "conf/fields.h"
#include "conf/settings.h"
#include "ev/loop.h"

struct announced;
struct auth;
struct blackbox;
struct bus;
struct cron_book;
struct cron_locks;
struct generation;
struct gzip_cache;
struct http_server;
struct instance;
struct keyring;
struct metrics;
struct otlp;
struct plugins;
struct pool;
struct postgres;
struct redis;
struct registry;
struct roster;
struct run;
struct shared;
struct surveys;
struct tls;
struct topics;
struct watchdog;
struct worker_hooks;

struct server {
    const struct settings *settings;
    struct env_source env;
    struct dotenv *dotenv;
    struct loop *loop;
    struct watchdog *watchdog;
    struct blackbox *box; /* shared with the supervisor, or NULL */
    struct plugins *plugins;
    struct registry *registry; /* the worker apps: app/apps.h */
    struct worker_hooks *worker_hooks;
    struct shared *shared;
    struct redis *redis; /* of REDIS_URL, or NULL */
    struct bus *bus;     /* to the other replicas: app/replicas.h */
    struct roster *roster;
    struct surveys *surveys;
    struct announced *announced;   /* reloads for others that have not ended */
    struct cron_locks *cron_locks; /* which one of them runs a schedule; NULL: each does */
    struct metrics *metrics;
    struct otlp *otlp; /* where spans go; NULL: nowhere */
    struct random_pool random;
    struct cron_book *cron;
    struct topics *topics;   /* of sockets */
    struct gzip_cache *gzip; /* of static files */
    struct pool *pool;       /* of worker processes */
    struct http_server *http;
    struct tls *tls;          /* or NULL: plain HTTP */
    struct instance *control; /* the control plane's VM */
    uint16_t port;            /* 0 until the listener is up */
    uint64_t started_ms;
    bool stopping;
    struct lag_meter lag;
    struct postgres *database; /* DATABASE_URL; NULL: there is none */
    struct keyring *keyring;
    char keys_unread[160]; /* why, as it was told; "": they were read */
    uint64_t key_problem_ms;
    struct auth *auth; /* app/auth.c; NULL until it was asked */
    struct run *runs;  /* requests that are being answered */
    unsigned run_count;
    struct run *spare; /* their memory, to be used again */
};

/* One server without a listener: loop, plugins and the control plane. `box` is what a supervisor
 * reads; NULL: there is none.
 */
bool server_init(struct server *server,
                 const struct settings *settings,
                 struct blackbox *box,
                 struct err *err);
void server_fini(struct server *server);

/* Builds the first generation, running the loop meanwhile. Plugins that fail are logged and left
 * out; false only when the loop was stopped.
 */
bool server_load(struct server *server, struct err *err);

/* Calls the instance's onServerStart; nothing before the listener is up. */
void server_tell_started(struct server *server, struct instance *instance);

/* The listener takes the largest body that any plugin of the generation or any app allows; the
 * pipeline holds each request to the limit of the one that answers it.
 */
void server_fit_body_limit(struct server *server, const struct generation *generation);

struct reload_item;
void server_log_loaded(const struct reload_item *item);

/* Reads TLS_CERT and TLS_KEY (again) for connections to come; what is bad replaces nothing. */
bool server_read_tls(struct server *server, struct err *err);

/* Reads RUNTIME_ENV_FILE (again) under the real environment. */
bool server_read_env_file(struct server *server, struct err *err);
