#include "data/postgres.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/postgres_impl.h"
#include "data/postgres_sql.h"

void pg_error_fini(struct postgres_error *error)
{
    free(error->detail);
    free(error->hint);
    free(error->constraint);
    *error = (struct postgres_error){.code = ""};
}

void postgres_request_fini(struct postgres_request *r)
{
    free(r->sql);
    pg_error_fini(&r->error);
    buf_fini(&r->values);
    buf_fini(&r->names);
    buf_fini(&r->cells);
    buf_fini(&r->sent);
}

/* --- queues --- */

static void queue_init(struct pg_queue *q)
{
    *q = (struct pg_queue){.last = &q->first};
}

void pg_queue_add(struct pg_queue *q, struct postgres_request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
    q->count++;
}

struct postgres_request *pg_queue_take(struct pg_queue *q)
{
    struct postgres_request *r = q->first;

    if (r) {
        q->first = r->next;
        if (!q->first)
            q->last = &q->first;
        q->count--;
    }
    return r;
}

static bool queue_remove(struct pg_queue *q, struct postgres_request *r)
{
    for (struct postgres_request **slot = &q->first; *slot; slot = &(*slot)->next) {
        if (*slot != r)
            continue;
        *slot = r->next;
        if (q->last == &r->next)
            q->last = slot;
        q->count--;
        return true;
    }
    return false;
}

/* --- the ends of requests and of the pool --- */

void pg_fail(struct postgres_request *r, const char *code, const char *fmt, ...)
{
    va_list args;

    if (r->failed)
        return;
    r->failed = true;
    snprintf(r->error.code, sizeof(r->error.code), "%s", code);
    va_start(args, fmt);
    vsnprintf(r->error.message, sizeof(r->error.message), fmt, args);
    va_end(args);
}

void pg_finish(struct postgres_request *r)
{
    r->running = false;
    r->ok = !r->failed;
    r->conn = NULL;
    if (r->cancelled) {
        r->done(r);
        return;
    }
    pg_queue_add(&r->pool->finished, r);
    loop_post(r->pool->loop, &r->pool->tell);
}

void pg_unpin(struct postgres *pool)
{
    if (--pool->pins > 0 || !pool->closed || pool->finished.first)
        return;
    loop_unpost(pool->loop, &pool->tell);
    pg_settings_fini(&pool->settings);
    buf_fini(&pool->scratch);
    freelocale(pool->c_locale);
    free(pool);
}

void pg_tell(struct postgres *pool)
{
    struct postgres_request *r;

    pool->pins++;
    pg_dispatch(pool);
    loop_unpost(pool->loop, &pool->tell);
    while ((r = pg_queue_take(&pool->finished)))
        r->done(r);
    pg_sweep(pool);
    pg_unpin(pool);
}

static void tell(struct post *post)
{
    pg_tell((struct postgres *)((char *)post - offsetof(struct postgres, tell)));
}

/* --- who runs on which connection --- */

static bool is_free(const struct pg_conn *c)
{
    return c->state == PG_IDLE && !c->lost && !c->listens && !c->transaction && !c->ending &&
           !c->cancelling;
}

static struct pg_conn *free_conn(const struct postgres *pool)
{
    struct pg_conn *c = pool->conns;

    while (c && !is_free(c))
        c = c->next;
    return c;
}

static bool may_grow(const struct postgres *pool)
{
    return !pool->closed && pool->connecting < pool->waiting.count &&
           pool->open < pool->limits.max && loop_now_ms(pool->loop) >= pool->grow_after_ms;
}

void pg_dispatch(struct postgres *pool)
{
    struct pg_conn *c;

    while (pool->waiting.first && (c = free_conn(pool)))
        pg_run(c, pg_queue_take(&pool->waiting));
    while (may_grow(pool))
        pg_conn_new(pool, false);
}

static void grow(struct timer *timer)
{
    pg_tell((struct postgres *)((char *)timer - offsetof(struct postgres, grow)));
}

static void fail_overdue(struct timer *timer)
{
    struct postgres *pool = (struct postgres *)((char *)timer - offsetof(struct postgres, overdue));
    const uint64_t now = loop_now_ms(pool->loop);
    struct postgres_request *r;

    while ((r = pool->waiting.first) && r->deadline_ms <= now) {
        pg_queue_take(&pool->waiting);
        pg_fail(r, "ACQUIRE_TIMEOUT", "no connection was free within %g s (%u of %u are open)",
                (double)pool->limits.acquire_timeout_ms / 1000, pool->open, pool->limits.max);
        pg_finish(r);
    }
    if (r)
        timer_start(pool->loop, &pool->overdue, r->deadline_ms - now);
    pg_tell(pool);
}

static struct pg_conn *conn_of(const struct postgres *pool, uint64_t transaction)
{
    struct pg_conn *c = pool->conns;

    while (c && (c->lost || c->transaction != transaction))
        c = c->next;
    return transaction ? c : NULL;
}

/* --- requests --- */

/* False: it has failed. */
static bool check(struct postgres_request *r)
{
    unsigned wanted;

    if (r->pool->closed) {
        pg_fail(r, "CLOSED", "the database is closed");
        return false;
    }
    if (!r->sql)
        return true;
    wanted = postgres_rewrite((struct str){r->sql, r->sql_len}, &r->sent);
    buf_putc(&r->sent, '\0');
    r->sent.len--;
    if (wanted != r->value_count)
        pg_fail(r, "VALUE_COUNT", "the statement wants %u value%s, got %u", wanted,
                wanted == 1 ? "" : "s", r->value_count);
    return !r->failed;
}

static void submit_in_transaction(struct postgres *pool, struct postgres_request *r)
{
    struct pg_conn *c = conn_of(pool, r->transaction);

    if (!c) {
        pg_fail(r, "CONNECTION_LOST", "the connection of the transaction was lost");
        pg_finish(r);
        return;
    }
    r->conn = c;
    if (c->state == PG_IDLE && !c->cancelling)
        pg_run(c, r);
    else
        pg_queue_add(&c->held, r);
}

void postgres_submit(struct postgres *pool, struct postgres_request *r)
{
    r->pool = pool;
    if (!check(r)) {
        pg_finish(r);
        return;
    }
    if (r->transaction) {
        submit_in_transaction(pool, r);
        return;
    }
    r->deadline_ms = loop_now_ms(pool->loop) + pool->limits.acquire_timeout_ms;
    pg_queue_add(&pool->waiting, r);
    pg_dispatch(pool);
    if (pool->waiting.first && !timer_running(&pool->overdue))
        timer_start(pool->loop, &pool->overdue, pool->limits.acquire_timeout_ms);
}

static void cancel_running(struct postgres_request *r)
{
    if (r->verb != POSTGRES_COMMIT)
        pg_cancel(r->conn);
}

void postgres_cancel(struct postgres_request *r)
{
    struct postgres *pool = r->pool;

    r->cancelled = true;
    if (r->running) {
        cancel_running(r);
        return;
    }
    if (queue_remove(&pool->finished, r) && r->ok && r->verb == POSTGRES_BEGIN)
        postgres_rollback(pool, r->transaction);
    queue_remove(&pool->waiting, r);
    if (r->conn)
        queue_remove(&r->conn->held, r);
    r->done(r);
}

void postgres_rollback(struct postgres *pool, uint64_t transaction)
{
    struct pg_conn *c = conn_of(pool, transaction);

    if (!c)
        return;
    c->transaction = 0;
    c->holder = NULL;
    c->ending = true;
    if (c->state == PG_IDLE)
        pg_next(c);
}

bool postgres_in_transaction(const struct postgres *pool, uint64_t transaction)
{
    return conn_of(pool, transaction) != NULL;
}

bool postgres_holds(const struct postgres *pool, const void *holder)
{
    for (const struct pg_conn *c = pool->conns; c; c = c->next) {
        if (!c->lost && c->transaction && c->holder == holder)
            return true;
    }
    return false;
}

/* --- opening and closing --- */

struct postgres *
postgres_open(struct loop *loop, const struct postgres_options *options, struct err *err)
{
    struct pg_settings settings;
    struct postgres *pool;

    if (!pq_load(err) || !pg_settings_parse(&settings, options->url, err))
        return NULL;
    pool = mem_alloc(sizeof(*pool));
    pool->loop = loop;
    pool->settings = settings;
    pool->limits = *options;
    pool->limits.url = NULL;
    if (pool->limits.statements > PG_STATEMENTS_MAX)
        pool->limits.statements = PG_STATEMENTS_MAX;
    pg_settings_label(&settings, pool->label, sizeof(pool->label));
    pool->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    queue_init(&pool->waiting);
    queue_init(&pool->finished);
    pool->overdue.fire = fail_overdue;
    pool->grow.fire = grow;
    pool->tell.run = tell;
    return pool;
}

void postgres_close(struct postgres *pool)
{
    struct postgres_request *r;

    pool->pins++;
    pool->closed = true;
    timer_stop(&pool->overdue);
    timer_stop(&pool->canceller.again);
    timer_stop(&pool->grow);
    pg_listen_close(pool);
    for (struct pg_conn *c = pool->conns; c; c = c->next)
        pg_conn_lose(c, "CLOSED", "the database was closed");
    while ((r = pg_queue_take(&pool->waiting))) {
        pg_fail(r, "CLOSED", "the database was closed");
        pg_finish(r);
    }
    pg_sweep(pool);
    pg_unpin(pool);
}

const char *postgres_label(const struct postgres *pool)
{
    return pool->label;
}

struct postgres_stats postgres_stats(const struct postgres *pool)
{
    struct postgres_stats stats = {.open = pool->open, .waiting = pool->waiting.count};

    for (const struct pg_conn *c = pool->conns; c; c = c->next)
        stats.idle += is_free(c);
    return stats;
}
