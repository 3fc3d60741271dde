/* Worker processes: which there are, who gets which request, and what becomes of them.
 *
 * A process runs one version of one app and never another. The pool starts processes when
 * requests come, keeps the rules of the manifest (ttl, idleTimeout, maxRequests, timeout) and of
 * the settings (RUNTIME_POOL_SIZE, RUNTIME_EPHEMERAL_*), queues what cannot run yet with fair
 * turns between apps, and ends processes. Owns the processes; holds a reference of each app that
 * has any. Logs nothing itself: it tells through the callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

struct app;
struct env_source;
struct exchange;
struct loop;
struct pool;
struct pool_call;
struct settings;

/* A process, as callbacks and lists show it. */
struct pool_worker {
    const struct app *app;
    const char *id; /* "w12", unique in the server process */
    int pid;
    const char *state; /* "starting", "idle", "busy", "draining" */
    unsigned in_flight;
    uint64_t served;
    uint64_t age_ms;
    size_t memory; /* bytes of its VMs as it last told */
    /* Of one that ended: why, as "ttl", "maxRequests", "timeout", "crash", "memory", "evicted",
     * "replaced", "shutdown"; NULL before.
     */
    const char *reason;
};

struct pool_options {
    struct loop *loop;
    const struct settings *settings;
    const struct env_source *env; /* where permissions.env gets its values; may be NULL */
    const char *api_url; /* RUNTIME_API_URL of the workers; may be changed by pool_set_api_url() */
    void *app;
    void (*on_spawn)(void *app, const struct pool_worker *worker);
    void (*on_terminate)(void *app, const struct pool_worker *worker);
    /* A line that an app's code or its VM logs. `fields` is JSON or NULL. */
    void (*on_log)(void *app, const struct app *which, const struct log_line *line);
    /* A request's error, with file, line and traceback of the app's code. */
    void (*on_fault)(void *app,
                     const struct app *which,
                     const struct err *err,
                     const char *request_id);
};

struct pool *pool_new(const struct pool_options *options, struct err *err);
void pool_free(struct pool *pool); /* ends what is left at once */
void pool_set_api_url(struct pool *pool, const char *url);

/* Has `app` answer: `done` is called once and later, with the response on the exchange (the app's,
 * or an error of SPEC 9), and with `answered` false when the app's router has no such route.
 * `strip` bytes of the path are the app's base.
 */
struct pool_call *pool_call(struct pool *pool,
                            struct app *app,
                            struct exchange *x,
                            size_t strip,
                            void (*done)(bool answered, void *arg),
                            void *arg);
/* The exchange is gone or was answered otherwise: `done` is not called. */
void pool_call_cancel(struct pool_call *call);

/* No new requests for this very app (it was replaced, disabled or removed): its processes end when
 * they have answered, or after RUNTIME_DRAIN_TIMEOUT.
 */
void pool_retire(struct pool *pool, struct app *app);

struct pool_stats {
    size_t size, workers, busy, idle, queued; /* size: RUNTIME_POOL_SIZE */
    uint64_t requests, spawned, terminated, killed, timeouts, crashes, rejected;
};
struct pool_stats pool_stats(const struct pool *pool);
/* The processes, newest first; false at the end. */
bool pool_worker_at(const struct pool *pool, size_t i, struct pool_worker *worker);
/* Live processes of this app, and requests that it ever answered (by name and version). */
size_t pool_live(const struct pool *pool, const struct app *app);
uint64_t pool_requests(const struct pool *pool, const struct app *app);

/* Event streams of workers end, which would go on for ever; at the start of a shutdown. */
void pool_end_events(struct pool *pool);

/* Everything ends: requests are answered within `timeout_ms`, onTerminate runs; then `done`. */
void pool_shutdown(struct pool *pool, uint64_t timeout_ms, void (*done)(void *arg), void *arg);
