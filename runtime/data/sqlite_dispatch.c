/* Which request runs on which connection, and what becomes of it afterwards. */
#include "data/sqlite_impl.h"

enum { AGAIN_MAX_MS = 25 };

static void conn_work(struct job *job)
{
    struct sqlite_conn *c = (struct sqlite_conn *)job;
    const bool shared = c->batch->next != NULL;

    for (struct sqlite_request *r = c->batch; r; r = r->next)
        conn_run(c, r, shared);
}

static void conn_done(struct job *job);

static void run_batch(struct sqlite_conn *c, struct sqlite_request *batch)
{
    for (struct sqlite_request *r = batch; r; r = r->next)
        r->state = REQUEST_RUNNING;
    c->batch = batch;
    c->running = true;
    c->job.work = conn_work;
    c->job.done = conn_done;
    loop_submit(c->db->loop, &c->job);
}

static bool may_share(const struct sqlite_request *r)
{
    return !r->alone && r->verb <= VERB_EXEC && r->verb != VERB_OPEN && !r->transaction;
}

/* The next of the queue, and as many after it as may share a turn with it. */
static struct sqlite_request *take_batch(struct queue *q)
{
    struct sqlite_request *first = sqlite_queue_take(q), *last = first;
    unsigned count = 1;

    while (may_share(first) && q->first && may_share(q->first) && count++ < BATCH_MAX) {
        last->next = sqlite_queue_take(q);
        last = last->next;
    }
    return first;
}

static struct sqlite_conn *free_reader(struct sqlite *db)
{
    for (unsigned i = 0; i < db->reader_count; i++) {
        if (!db->readers[i]->running)
            return db->readers[i];
    }
    if (db->reader_count == db->readers_max)
        return NULL;
    return db->readers[db->reader_count++] = conn_new(db, false);
}

void sqlite_dispatch(struct post *post)
{
    struct sqlite *db = (struct sqlite *)((char *)post - offsetof(struct sqlite, dispatch));
    struct queue *writes = db->transaction ? &db->held : &db->writes;
    const bool paused = timer_running(&db->again);
    struct sqlite_conn *reader;

    if (db->closed)
        return;
    if (!db->writer->running && writes->first && !paused) {
        const bool begins = writes->first->verb == VERB_BEGIN;
        run_batch(db->writer, take_batch(writes));
        if (begins)
            db->transaction = db->writer->batch->transaction;
    }
    if (paused && db->reads_paused)
        return;
    db->reads_paused = false;
    while (db->ready && db->reads.first && (reader = free_reader(db)))
        run_batch(reader, take_batch(&db->reads));
    sqlite_watch_overdue(db);
}

void sqlite_on_again(struct timer *timer)
{
    struct sqlite *db = (struct sqlite *)((char *)timer - offsetof(struct sqlite, again));

    sqlite_dispatch(&db->dispatch);
}

/* --- outcomes --- */

/* Back into its queue, in front; one that turned out to write goes to the end of that queue. */
static void run_again(struct sqlite *db, const struct sqlite_conn *c, struct sqlite_request *r)
{
    r->state = REQUEST_QUEUED;
    if (r->outcome == OUTCOME_WRITES) {
        r->deadline_ms = loop_now_ms(db->loop) + db->busy_timeout_ms;
        sqlite_queue_add(&db->writes, r);
    } else if (r->transaction && r->verb != VERB_BEGIN) {
        sqlite_queue_put_first(&db->held, r);
    } else {
        sqlite_queue_put_first(c->writes ? &db->writes : &db->reads, r);
    }
}

/* What a transaction still had to do when it ended. */
static void end_transaction(struct sqlite *db)
{
    db->transaction = 0;
    sqlite_fail_all(&db->held, "SQLITE_MISUSE", "the transaction has ended");
}

static void settle_transaction(struct sqlite *db, struct sqlite_request *r)
{
    const bool ends = r->verb == VERB_COMMIT || r->verb == VERB_ROLLBACK;

    if (r->verb == VERB_BEGIN && !r->ok)
        end_transaction(db);
    else if (r->verb == VERB_BEGIN && r->cancelled)
        sqlite_rollback(db, r->transaction);
    else if (ends && (r->ok || r->verb == VERB_ROLLBACK))
        end_transaction(db);
}

/* Whether the request is to run once more; `busy` is set when that should not be at once. */
static bool wants_again(struct sqlite *db, struct sqlite_request *r, bool *busy)
{
    if (r->outcome != OUTCOME_DONE && db->closed)
        sqlite_fail(&r->error, 0, "SQLITE_MISUSE", "the database was closed");
    if (r->outcome == OUTCOME_DONE || db->closed || r->cancelled)
        return false;
    if (r->outcome == OUTCOME_SLOW)
        r->alone = true;
    if (r->outcome != OUTCOME_BUSY)
        return true;
    *busy = loop_now_ms(db->loop) < r->deadline_ms;
    return *busy;
}

/* Sorts what has run into what is over, in order, and what has to run again. */
static void sort_batch(struct sqlite_conn *c, struct queue *over, bool *busy)
{
    struct sqlite *db = c->db;
    struct sqlite_request *again = NULL, *r;
    struct queue batch = {.first = c->batch};

    c->batch = NULL;
    while ((r = sqlite_queue_take(&batch))) {
        if (wants_again(db, r, busy)) {
            r->next = again; /* the last in front: they go back in front of the queue */
            again = r;
            continue;
        }
        settle_transaction(db, r);
        sqlite_queue_add(over, r);
    }
    while ((r = again)) {
        again = r->next;
        if (r->verb == VERB_BEGIN)
            db->transaction = 0;
        run_again(db, c, r);
    }
}

static void pause_for_others(struct sqlite *db, const struct sqlite_conn *c)
{
    db->reads_paused = db->reads_paused || !c->writes;
    db->again_ms = db->again_ms ? db->again_ms * 2 : 1;
    if (db->again_ms > AGAIN_MAX_MS)
        db->again_ms = AGAIN_MAX_MS;
    timer_start(db->loop, &db->again, db->again_ms);
}

static void conn_done(struct job *job)
{
    struct sqlite_conn *c = (struct sqlite_conn *)job;
    struct sqlite *db = c->db;
    struct queue over;
    struct sqlite_request *r;
    bool busy = false;

    sqlite_queue_init(&over);
    c->running = false;
    sort_batch(c, &over, &busy);
    if (busy)
        pause_for_others(db, c);
    else if (c->writes)
        db->again_ms = 0;
    db->connections++; /* keeps `db` while others run */
    while ((r = sqlite_queue_take(&over))) {
        db->ready = db->ready || (r->verb == VERB_OPEN && r->ok);
        r->done(r);
    }
    db->connections--;
    if (db->closed && !c->running)
        sqlite_start_closing(c);
    else if (!db->closed)
        loop_post(db->loop, &db->dispatch);
}
