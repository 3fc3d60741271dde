/* All plugins: a record for each folder on disk, the current generation, the services, and the
 * reload that is running.
 *
 * Owns the records, the services and one reference of the current generation. Logs nothing: what
 * happens is told through the callbacks of `struct plugins_options`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "conf/digest.h"
#include "plugin/faults.h"
#include "plugin/lag.h"

struct buf;
struct bus;
struct cron_book;
struct env_source;
struct exchange;
struct generation;
struct identity;
struct instance;
struct keyring;
struct loop;
struct manifest;
struct metrics;
struct plugins;
struct pool;
struct redis;
struct registry;
struct reload_apps;
struct roster;
struct settings;
struct shared;
struct surveys;
struct topics;
struct watchdog;

enum plugin_status {
    PLUGIN_LOADED,
    PLUGIN_UNCHANGED,
    PLUGIN_KEPT_OLD,
    PLUGIN_FAILED,
    PLUGIN_SKIPPED,
    PLUGIN_DISABLED,
    PLUGIN_REMOVED,
    PLUGIN_QUARANTINED, /* it took the server down again and again */
};

const char *plugin_status_name(enum plugin_status status);

/* What is known of one plugin folder. */
struct plugin {
    char *dir;
    char *name;    /* the manifest's, or the folder's while there is none */
    char *version; /* NULL when unknown */
    char *base;    /* NULL when there is none */
    bool builtin;
    bool enabled;
    struct manifest *manifest; /* as last read; NULL when it could not be */
    char digest[DIGEST_TEXT];
    enum plugin_status status; /* of the last reload that concerned it */
    struct err *err;           /* why it is kept_old, failed or skipped; else NULL */
    struct instance *live;     /* in the current generation, or NULL */
    struct faults faults;
    struct lag_stats lag; /* how its code held the loop */
    uint64_t requests, errors;
    uint64_t rebuilt_ms; /* when its VM was last given up for being full; 0: never */
    unsigned refs;       /* the list and each instance */
    struct plugin *next; /* in discovery order */
};

/* Why a call was refused, as the answer tells it. */
struct denial {
    unsigned status;
    char code[32];
    char message[256];
    unsigned retry_after; /* seconds, with 429 */
};

/* What health tells of the process. */
struct server_status {
    bool stopping;
    uint64_t started_ms, now_ms;       /* monotonic */
    const struct lag_stats *other_lag; /* what held the loop and is no plugin's; never NULL */
};

struct plugins_options {
    struct loop *loop;
    const struct settings *settings;
    const struct env_source *env;
    int (*open)(lua_State *L); /* bind_open */
    struct shared *shared;     /* the dictionary of the process; NULL: each VM has its own */
    struct redis *redis;       /* that the replicas share; NULL: there is one server */
    struct bus *bus;           /* to the other replicas; NULL in a worker process */
    struct roster *roster;     /* who they are; likewise */
    struct surveys *surveys;   /* asks them; likewise */
    struct metrics *metrics;   /* where requests are counted; NULL: nowhere */
    struct cron_book *cron;    /* what is known of schedules; NULL: each VM has its own */
    void *app;
    /* A plugin's error, already kept in its record. */
    void (*on_fault)(void *app,
                     const struct instance *instance,
                     const struct err *err,
                     const char *phase,
                     const char *request_id);
    void (*on_notice)(void *app, enum log_level level, const char *plugin, const char *message);
    /* `instance` has to go now: end the requests that are in it. */
    void (*cut)(void *app, struct instance *instance);
    /* After a swap, and for the instances that are new in it. */
    void (*on_swap)(void *app, struct generation *generation);
    void (*on_live)(void *app, struct instance *instance);
    struct keyring *keyring; /* whose credentials there are; NULL: there is no control plane */
    /* Whether the request may do what `permission` names ("plugins:read"), and whose it is. Without
     * a permission nobody needs a credential, and `who` is anonymous without. With `mutating`, a
     * request that another site made a browser send is refused.
     */
    bool (*authorize)(void *app,
                      const struct exchange *x,
                      const char *permission,
                      bool mutating,
                      struct identity *who,
                      struct denial *denial);
    /* Whose key it is that the request has brought in its body. */
    bool (*login)(void *app,
                  const struct exchange *x,
                  struct str key,
                  struct identity *who,
                  struct denial *denial);
    /* `instance` was replaced or removed and has begun to drain. May be NULL. */
    void (*on_drain)(void *app, struct instance *instance);
    struct topics *topics; /* of the server process; NULL: nobody publishes */
    void (*status)(void *app, struct server_status *status);
    void (*write_metrics)(void *app, struct buf *out); /* the whole page */
    struct watchdog *watchdog;                         /* of the VMs; may be NULL */
    /* The number that the watchdog's record shows while this plugin's code runs. */
    uint32_t (*mark)(void *app, const char *name, const char *digest);
    /* Whether the plugin, with just these files, is to be left out. */
    bool (*quarantined)(void *app, const char *name, const char *digest);
    const struct reload_apps *apps; /* what reloads take along; may be NULL */
    struct registry *registry;      /* the worker apps, for bindings; may be NULL */
    struct pool *pool;              /* their processes, likewise */
    bool worker;                    /* of a worker process: no sockets, no schedules */
    const char *data_dir;           /* of every instance; NULL: below RUNTIME_STATE_DIR */
    /* `instance` is about to be freed. May be NULL. */
    void (*on_gone)(void *app, struct instance *instance);
    /* Before each reload reads anything: e.g. to read RUNTIME_ENV_FILE again. */
    void (*before_reload)(void *app);
};

struct plugins *plugins_new(const struct plugins_options *options);
void plugins_free(struct plugins *plugins); /* what still lives is closed without onShutdown */

/* Reloads that ended, by how; the last one's time. */
struct reload_counts {
    uint64_t ok, partial, rejected, last_ms;
};

const struct reload_counts *plugins_reload_counts(const struct plugins *plugins);

struct generation *plugins_generation(struct plugins *plugins); /* NULL before the first */
struct plugin *plugins_first(struct plugins *plugins);          /* walk by ->next */
struct plugin *plugins_find(struct plugins *plugins, const char *name);

const struct plugins_options *plugins_options(const struct plugins *plugins);
const struct settings *plugins_settings(const struct plugins *plugins);
struct loop *plugins_loop(const struct plugins *plugins);
int (*plugins_open(const struct plugins *plugins))(lua_State *L);

/* onShutdown of every live instance in reverse load order, each with an equal share of what is
 * left of `timeout_ms`; then `done`.
 */
void plugins_shutdown(struct plugins *plugins,
                      uint64_t timeout_ms,
                      void (*done)(void *arg),
                      void *arg);

/* Keeps and tells an error of `instance`. */
void plugins_fault(struct instance *instance,
                   const struct err *err,
                   const char *phase,
                   const char *request_id);

/* Tells the log, by `on_notice`. */
void plugins_notice(struct plugins *plugins,
                    enum log_level level,
                    const char *plugin,
                    const char *fmt,
                    ...) PRINTF_LIKE(4, 5);

/* --- for plugin/ itself --- */
void plugin_ref(struct plugin *plugin);
void plugin_unref(struct plugin *plugin); /* NULL is fine */
void plugins_leak(struct instance *instance, const char *kind, const char *label);
void plugins_drained(struct plugins *plugins, struct instance *instance);
void plugins_call_done(struct instance *instance); /* a service call has ended */
