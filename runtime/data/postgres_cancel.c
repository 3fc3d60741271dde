/* Cancelling statements at the server. PQcancel() opens a connection and waits, so the thread pool
 * does it.
 */
#include "data/postgres_impl.h"

static void work(struct job *job)
{
    struct pg_canceller *canceller = (struct pg_canceller *)job;
    char problem[256];

    /* If it fails, the connection's timer closes it. */
    pq.cancel(canceller->cancel, problem, sizeof(problem));
}

static void next(struct postgres *pool);

static void done(struct job *job)
{
    struct pg_canceller *canceller = (struct pg_canceller *)job;
    struct postgres *pool =
        (struct postgres *)((char *)job - offsetof(struct postgres, canceller.job));
    struct pg_conn *c = canceller->conn;

    pq.freeCancel(canceller->cancel);
    canceller->running = false;
    if (c) {
        c->cancelling = false;
        if (c->state == PG_IDLE)
            pg_next(c);
        else if (!c->lost && !pool->closed)
            timer_start(pool->loop, &canceller->again, PG_AGAIN_MS);
    }
    next(pool);
    pg_tell(pool);
    pg_unpin(pool);
}

/* A server that has yet to begin the statement takes no notice of the first one. */
static void cancel_again(struct timer *timer)
{
    struct postgres *pool =
        (struct postgres *)((char *)timer - offsetof(struct postgres, canceller.again));

    for (struct pg_conn *c = pool->conns; c; c = c->next)
        c->wants_cancel = c->wants_cancel || (c->gives_way && !c->cancelling);
    next(pool);
}

static void next(struct postgres *pool)
{
    struct pg_canceller *canceller = &pool->canceller;
    struct pg_conn *c = pool->conns;

    while (c && (c->lost || !c->wants_cancel))
        c = c->next;
    if (!c || canceller->running)
        return;
    c->wants_cancel = false;
    canceller->cancel = pq.getCancel(c->pg);
    if (!canceller->cancel)
        return;
    canceller->conn = c;
    canceller->running = c->cancelling = true;
    canceller->job = (struct job){.work = work, .done = done};
    pool->pins++;
    loop_submit(pool->loop, &canceller->job);
}

void pg_cancel(struct pg_conn *c)
{
    c->gives_way = c->wants_cancel = true;
    c->pool->canceller.again.fire = cancel_again;
    timer_start(c->pool->loop, &c->timer, PG_CANCEL_MS);
    next(c->pool);
}

void pg_cancel_forget(struct pg_conn *c)
{
    if (c->pool->canceller.conn == c)
        c->pool->canceller.conn = NULL;
}
