/* A request's way over its connection, step by step. */
#include "data/postgres_impl.h"

#include <stdio.h>
#include <string.h>

/* --- sending --- */

bool pg_send_step(struct pg_conn *c, enum pg_step step, const char *sql)
{
    bool sent;

    c->step = step;
    c->failed = false;
    if (c->state == PG_IDLE)
        c->state = PG_RUNNING;
    sent = sql ? pq.sendQuery(c->pg, sql) : pg_statement_send(c, c->request);
    if (sent)
        pg_conn_watch(c);
    return sent;
}

static const char *control_text(const struct postgres_request *r, char *text, size_t size)
{
    switch (r->verb) {
    case POSTGRES_BEGIN:
        return "begin";
    case POSTGRES_COMMIT:
        return "commit";
    case POSTGRES_SAVE:
        snprintf(text, size, "savepoint buntime%u", r->level);
        return text;
    case POSTGRES_RELEASE:
        snprintf(text, size, "release savepoint buntime%u", r->level);
        return text;
    case POSTGRES_UNDO:
        snprintf(text, size, "rollback to savepoint buntime%u; release savepoint buntime%u",
                 r->level, r->level);
        return text;
    default:
        return NULL;
    }
}

/* The statement that makes place; NULL for the other steps. */
static const char *forget_text(const struct pg_conn *c, enum pg_step step, char *text, size_t size)
{
    if (step != PG_STEP_FORGET)
        return NULL;
    snprintf(text, size, "deallocate s%u", c->forgotten);
    return text;
}

static void start_guard(struct pg_conn *c)
{
    const uint64_t limit = c->pool->limits.statement_timeout_ms;

    if (limit > 0)
        timer_start(c->pool->loop, &c->timer, limit + PG_GRACE_MS);
    else
        timer_stop(&c->timer);
}

static void lose_sending(struct pg_conn *c)
{
    pg_conn_lose(c, "CONNECTION_LOST", "the connection was lost: %s", pq.errorMessage(c->pg));
}

void pg_run(struct pg_conn *c, struct postgres_request *r)
{
    char text[128];
    const char *sql = control_text(r, text, sizeof(text));
    enum pg_step step = PG_STEP_RUN;

    c->request = r;
    r->conn = c;
    r->running = true;
    c->statement = NULL;
    c->too_large = c->retried = c->gives_way = c->wants_cancel = false;
    start_guard(c);
    if (!sql) {
        step = pg_statement_choose(c, r);
        sql = forget_text(c, step, text, sizeof(text));
    }
    if (!pg_send_step(c, step, sql))
        lose_sending(c);
}

static void send_rollback(struct pg_conn *c)
{
    timer_start(c->pool->loop, &c->timer, PG_CANCEL_MS);
    if (!pg_send_step(c, PG_STEP_ROLLBACK, "rollback"))
        lose_sending(c);
}

void pg_next(struct pg_conn *c)
{
    const uint64_t idle = c->pool->limits.idle_timeout_ms;

    if (c->lost)
        return;
    c->state = PG_IDLE;
    timer_stop(&c->timer);
    if (c->cancelling) /* postgres_cancel.c comes back here */
        timer_start(c->pool->loop, &c->timer, PG_CANCEL_MS);
    else if (c->held.first)
        pg_run(c, pg_queue_take(&c->held));
    else if (c->ending)
        send_rollback(c);
    else if (c->listens)
        pg_listen_next(c);
    else if (!c->transaction && idle > 0)
        timer_start(c->pool->loop, &c->timer, idle);
}

/* --- the end of a request --- */

static bool use_transaction(struct postgres_request *r)
{
    if (!r->failed)
        pg_fail(r, "USE_TRANSACTION",
                "begin, commit and rollback are those of db:transaction(function(tx) … end)");
    return true;
}

/* What the request was for the connection's transaction. */
static void settle_transaction(struct pg_conn *c, struct postgres_request *r)
{
    const bool outside = pq.transactionStatus(c->pg) == PQTRANS_IDLE;

    if (r->verb == POSTGRES_BEGIN && !r->failed && !r->cancelled) {
        c->transaction = r->transaction = ++c->pool->last_transaction;
        c->holder = r->holder;
    } else if (r->verb == POSTGRES_BEGIN || r->verb == POSTGRES_COMMIT) {
        c->transaction = 0;
        c->ending = !outside;
    } else if (r->transaction == 0 && !outside) {
        c->ending = use_transaction(r);
    } else if (c->transaction != 0 && outside) {
        c->transaction = 0;
        use_transaction(r);
    }
    if (c->transaction == 0)
        c->holder = NULL;
}

/* Of a transaction that was ended while others still used it: they are not to run outside. */
static void fail_held(struct pg_conn *c)
{
    struct postgres_request *r;

    while ((r = pg_queue_take(&c->held))) {
        pg_fail(r, "TRANSACTION_ENDED", "the transaction has ended");
        pg_finish(r);
    }
}

static void end_request(struct pg_conn *c)
{
    struct postgres_request *r = c->request;

    settle_transaction(c, r);
    c->request = NULL;
    c->gives_way = c->wants_cancel = false;
    pg_finish(r);
    if (!c->transaction && !c->ending)
        fail_held(c);
    pg_next(c);
}

/* --- the end of a step --- */

static bool is_stale(const struct postgres_request *r)
{
    return strcmp(r->error.code, "26000") == 0 || strcmp(r->error.code, "0A000") == 0;
}

/* A prepared statement that the server has forgotten, or whose tables have changed: once more
 * without. */
static bool try_again(struct pg_conn *c, struct postgres_request *r)
{
    if (!c->failed || !c->statement || !r->failed || !is_stale(r))
        return false;
    pg_statement_drop(c);
    if (c->retried || r->cancelled || pq.transactionStatus(c->pg) != PQTRANS_IDLE)
        return false;
    c->retried = true;
    r->failed = false;
    pg_error_fini(&r->error);
    return true;
}

static void end_run(struct pg_conn *c)
{
    if (!try_again(c, c->request))
        end_request(c);
    else if (!pg_send_step(c, PG_STEP_RUN, NULL))
        lose_sending(c);
}

/* The request itself comes after what prepares it. */
static void end_preparing(struct pg_conn *c)
{
    struct postgres_request *r = c->request;

    if (c->step == PG_STEP_PREPARE && !c->failed)
        c->statement->prepared = true;
    if (r->cancelled || (c->step == PG_STEP_PREPARE && c->failed))
        end_request(c);
    else if (!pg_send_step(c, PG_STEP_RUN, NULL))
        lose_sending(c);
}

static void end_rollback(struct pg_conn *c)
{
    c->ending = false;
    if (c->failed || pq.transactionStatus(c->pg) != PQTRANS_IDLE)
        pg_conn_lose(c, "CONNECTION_LOST", "cannot roll back: %s", c->problem);
    else
        pg_next(c);
}

static void end_step(struct pg_conn *c)
{
    switch (c->step) {
    case PG_STEP_SETUP:
        pg_setup_next(c);
        return;
    case PG_STEP_FORGET:
    case PG_STEP_PREPARE:
        end_preparing(c);
        return;
    case PG_STEP_RUN:
        end_run(c);
        return;
    case PG_STEP_ROLLBACK:
        end_rollback(c);
        return;
    case PG_STEP_LISTEN:
        pg_listen_done(c, !c->failed);
        return;
    }
}

void pg_receive(struct pg_conn *c)
{
    if (!pq.consumeInput(c->pg)) {
        lose_sending(c);
        return;
    }
    while (!c->lost && !pq.isBusy(c->pg)) {
        PGresult *result = pq.getResult(c->pg);

        if (result)
            pg_take_result(c, result);
        else if (c->state == PG_IDLE)
            break;
        else
            end_step(c);
        pq.clear(result);
    }
    if (c->lost)
        return;
    pg_listen_heard(c);
    pg_conn_watch(c);
}
