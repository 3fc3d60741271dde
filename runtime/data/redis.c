#include "data/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/redis_impl.h"

void redis_request_fini(struct redis_request *r)
{
    buf_fini(&r->commands);
    buf_fini(&r->replies);
}

/* --- queues --- */

void redis_queue_init(struct redis_queue *q)
{
    *q = (struct redis_queue){.last = &q->first};
}

void redis_queue_add(struct redis_queue *q, struct redis_request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

struct redis_request *redis_queue_take(struct redis_queue *q)
{
    struct redis_request *r = q->first;

    if (r) {
        q->first = r->next;
        if (!q->first)
            q->last = &q->first;
    }
    return r;
}

static bool queue_remove(struct redis_queue *q, struct redis_request *r)
{
    for (struct redis_request **slot = &q->first; *slot; slot = &(*slot)->next) {
        if (*slot != r)
            continue;
        *slot = r->next;
        if (q->last == &r->next)
            q->last = slot;
        return true;
    }
    return false;
}

/* --- the ends of requests and of the client --- */

void redis_fail(struct redis_request *r, const char *code, const char *message)
{
    if (r->failed)
        return;
    r->failed = true;
    r->ok = false;
    snprintf(r->error.code, sizeof(r->error.code), "%s", code);
    snprintf(r->error.message, sizeof(r->error.message), "%s", message);
}

static void note_away(const struct redis_request *r)
{
    if (r->ok)
        r->redis->away = false;
    else if (strncmp(r->error.code, "CONNECTION_", 11) == 0 ||
             strcmp(r->error.code, "TIMEOUT") == 0)
        r->redis->away = true;
}

void redis_finish(struct redis_request *r)
{
    r->conn = NULL;
    r->redis->pending--;
    r->redis->pending_bytes -= r->size;
    note_away(r);
    if (r->cancelled) {
        r->done(r);
        return;
    }
    redis_queue_add(&r->redis->finished, r);
    loop_post(r->redis->loop, &r->redis->tell);
}

void redis_fail_waiting(struct redis *redis, const char *code, const char *message)
{
    struct redis_request *r;

    while ((r = redis_queue_take(&redis->waiting))) {
        redis_fail(r, code, message);
        redis_finish(r);
    }
}

void redis_unpin(struct redis *redis)
{
    if (--redis->pins > 0 || !redis->closed || redis->finished.first)
        return;
    loop_unpost(redis->loop, &redis->tell);
    redis_server_fini(&redis->server);
    free(redis);
}

static void write_unsent(struct redis *redis)
{
    for (struct redis_conn *c = redis->conns; c; c = c->next) {
        if (!c->lost && c->unsent && c->state > REDIS_CONNECTING)
            redis_write(c);
    }
}

void redis_tell(struct redis *redis)
{
    struct redis_request *r;

    redis->pins++;
    loop_unpost(redis->loop, &redis->tell);
    while ((r = redis_queue_take(&redis->finished)))
        r->done(r);
    /* What they have submitted goes in one piece with what was there before. */
    write_unsent(redis);
    redis_sweep(redis);
    if (!redis->finished.first)
        loop_unpost(redis->loop, &redis->tell);
    redis_unpin(redis);
}

static void tell(struct post *post)
{
    redis_tell((struct redis *)((char *)post - offsetof(struct redis, tell)));
}

/* --- connecting when there is need --- */

unsigned redis_backoff(unsigned before_ms)
{
    const unsigned next = before_ms == 0 ? REDIS_BACKOFF_FIRST_MS : before_ms * 2;

    return next < REDIS_BACKOFF_MOST_MS ? next : REDIS_BACKOFF_MOST_MS;
}

/* Those that wait have a connection in sight. */
static void connect_shared(struct redis *redis)
{
    const uint64_t now = loop_now_ms(redis->loop);

    if (redis->shared || timer_running(&redis->again) || !redis->waiting.first)
        return;
    if (redis->again_ms > now) {
        timer_start(redis->loop, &redis->again, redis->again_ms - now);
        return;
    }
    redis->shared = redis_conn_new(redis, ROLE_SHARED);
    redis_conn_connect(redis->shared);
}

static void connect_again(struct timer *timer)
{
    struct redis *redis = (struct redis *)((char *)timer - offsetof(struct redis, again));

    redis->again_ms = 0;
    connect_shared(redis);
    redis_tell(redis);
}

static void fail_overdue(struct timer *timer)
{
    struct redis *redis = (struct redis *)((char *)timer - offsetof(struct redis, overdue));
    const uint64_t now = loop_now_ms(redis->loop);
    struct redis_request *r;
    char message[256];

    snprintf(message, sizeof(message), "no connection to %s within %g s", redis->label,
             (double)redis->limits.timeout_ms / 1000);
    while ((r = redis->waiting.first) && r->deadline_ms <= now) {
        redis_queue_take(&redis->waiting);
        redis_fail(r, "TIMEOUT", message);
        redis_finish(r);
    }
    if (r)
        timer_start(redis->loop, timer, r->deadline_ms - now);
    redis_tell(redis);
}

/* --- requests --- */

static struct redis_conn *idle_blocking(const struct redis *redis)
{
    struct redis_conn *c = redis->conns;

    while (c && (c->lost || c->role != ROLE_BLOCKING || c->state != REDIS_READY || c->on_way.first))
        c = c->next;
    return c;
}

static void submit_blocking(struct redis *redis, struct redis_request *r)
{
    struct redis_conn *c = idle_blocking(redis);

    if (c) {
        redis_conn_run(c, r);
        timer_stop(&c->timer);
        return;
    }
    if (redis->blocking >= REDIS_BLOCKING_MAX) {
        redis_fail(r, "QUEUE_FULL", "too many commands that block (100)");
        redis_finish(r);
        return;
    }
    c = redis_conn_new(redis, ROLE_BLOCKING);
    r->conn = c;
    redis_queue_add(&c->on_way, r);
    redis_conn_connect(c);
}

static void submit_shared(struct redis *redis, struct redis_request *r)
{
    if (redis->shared && redis->shared->state == REDIS_READY) {
        redis_conn_run(redis->shared, r);
        return;
    }
    redis_queue_add(&redis->waiting, r);
    connect_shared(redis);
    if (redis->waiting.first && !timer_running(&redis->overdue))
        timer_start(redis->loop, &redis->overdue, redis->limits.timeout_ms);
}

void redis_submit(struct redis *redis, struct redis_request *r)
{
    r->redis = redis;
    r->deadline_ms = loop_now_ms(redis->loop) + redis->limits.timeout_ms;
    r->size = r->commands.len;
    redis->pending++;
    redis->pending_bytes += r->size;
    if (redis->closed)
        redis_fail(r, "CLOSED", "the connection is closed");
    else if (redis->pending > redis->limits.queue || redis->pending_bytes > REDIS_PENDING_MAX)
        redis_fail(r, "QUEUE_FULL", "too many commands wait for their replies");
    if (r->failed)
        redis_finish(r);
    else if (r->blocks)
        submit_blocking(redis, r);
    else
        submit_shared(redis, r);
}

void redis_cancel(struct redis_request *r)
{
    struct redis *redis = r->redis;

    r->cancelled = true;
    if (queue_remove(&redis->finished, r)) {
        r->done(r);
        return;
    }
    if (queue_remove(&redis->waiting, r)) {
        redis_finish(r);
        return;
    }
    /* Nothing else ends it; others wait for their replies behind the rest. */
    if (r->blocks)
        redis_conn_lose(r->conn, "CLOSED", "nobody waits for it");
}

/* --- opening and closing --- */

struct redis *redis_open(struct loop *loop, const struct redis_options *options, struct err *err)
{
    struct redis_server server;
    struct redis *redis;

    if (!redis_server_parse(&server, options->url, err))
        return NULL;
    redis = mem_alloc(sizeof(*redis));
    redis->loop = loop;
    redis->server = server;
    redis->limits = *options;
    redis->limits.url = NULL;
    if (server.local)
        snprintf(redis->label, sizeof(redis->label), "%s", server.host);
    else
        snprintf(redis->label, sizeof(redis->label), "%.100s:%u/%u", server.host, server.port,
                 server.number);
    redis_queue_init(&redis->waiting);
    redis_queue_init(&redis->finished);
    redis->overdue.fire = fail_overdue;
    redis->again.fire = connect_again;
    redis->tell.run = tell;
    return redis;
}

void redis_close(struct redis *redis)
{
    redis->pins++;
    redis->closed = true;
    timer_stop(&redis->overdue);
    timer_stop(&redis->again);
    redis_subscribers_close(redis);
    for (struct redis_conn *c = redis->conns; c; c = c->next)
        redis_conn_lose(c, "CLOSED", "the connection was closed");
    redis_fail_waiting(redis, "CLOSED", "the connection was closed");
    redis_sweep(redis);
    redis_unpin(redis);
}

const char *redis_label(const struct redis *redis)
{
    return redis->label;
}

bool redis_away(const struct redis *redis)
{
    return redis->away;
}

unsigned redis_number(const struct redis *redis)
{
    return redis->server.number;
}
