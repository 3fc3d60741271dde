#include "data/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "data/sqlite_impl.h"

enum { AGAIN_MAX_MS = 25 };

void sqlite_request_fini(struct sqlite_request *r)
{
    free(r->sql);
    free(r->error.statement);
    buf_fini(&r->values);
    buf_fini(&r->names);
    buf_fini(&r->cells);
}

/* --- queues --- */

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static void queue_add(struct queue *q, struct sqlite_request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

static void queue_put_first(struct queue *q, struct sqlite_request *r)
{
    r->next = q->first;
    if (!q->first)
        q->last = &r->next;
    q->first = r;
}

static struct sqlite_request *queue_take(struct queue *q)
{
    struct sqlite_request *r = q->first;

    if (r) {
        q->first = r->next;
        if (!q->first)
            q->last = &q->first;
        r->next = NULL;
    }
    return r;
}

static bool queue_remove(struct queue *q, struct sqlite_request *r)
{
    for (struct sqlite_request **slot = &q->first; *slot; slot = &(*slot)->next) {
        if (*slot != r)
            continue;
        *slot = r->next;
        if (q->last == &r->next)
            q->last = slot;
        r->next = NULL;
        return true;
    }
    return false;
}

/* --- the end of a database --- */

static void free_if_over(struct sqlite *db)
{
    if (!db->closed || db->connections > 0 || db->failed.first)
        return;
    loop_unpost(db->loop, &db->tell);
    for (size_t i = 0; i < db->migration_count; i++)
        free(db->migrations[i]);
    free(db->migrations);
    free(db->root);
    free(db->name);
    free(db);
}

static void close_work(struct job *job)
{
    struct sqlite_conn *c = (struct sqlite_conn *)job;

    conn_close(c);
}

static void close_done(struct job *job)
{
    struct sqlite_conn *c = (struct sqlite_conn *)job;
    struct sqlite *db = c->db;

    free(c);
    db->connections--;
    free_if_over(db);
}

static void start_closing(struct sqlite_conn *c)
{
    c->running = true;
    c->job.work = close_work;
    c->job.done = close_done;
    loop_submit(c->db->loop, &c->job);
}

/* --- failures, told on a later turn --- */

static void tell_failed(struct post *post)
{
    struct sqlite *db = (struct sqlite *)((char *)post - offsetof(struct sqlite, tell));
    struct sqlite_request *r;

    db->connections++; /* keeps `db` while others run */
    while ((r = queue_take(&db->failed)))
        r->done(r);
    db->connections--;
    free_if_over(db);
}

static void fail_later(struct sqlite_request *r, const char *code, const char *message)
{
    struct sqlite *db = r->db;

    if (r->cancelled) { /* nobody is to be told */
        r->done(r);
        return;
    }
    r->ok = false;
    r->state = REQUEST_FAILED;
    free(r->error.statement);
    r->error.statement = NULL;
    sqlite_fail(&r->error, 0, code, "%s", message);
    queue_add(&db->failed, r);
    loop_post(db->loop, &db->tell);
}

static void fail_all(struct queue *q, const char *code, const char *message)
{
    struct sqlite_request *r;

    while ((r = queue_take(q)))
        fail_later(r, code, message);
}

/* --- waiting for the writer --- */

static void watch_overdue(struct sqlite *db)
{
    const struct sqlite_request *first = db->writes.first;
    const uint64_t now = loop_now_ms(db->loop);

    if (!first)
        timer_stop(&db->overdue);
    else if (!timer_running(&db->overdue))
        timer_start(db->loop, &db->overdue,
                    first->deadline_ms > now ? first->deadline_ms - now : 0);
}

static void on_overdue(struct timer *timer)
{
    struct sqlite *db = (struct sqlite *)((char *)timer - offsetof(struct sqlite, overdue));
    const char *why = db->transaction ? "the database is busy: a transaction holds it"
                                      : "the database is busy: others write";

    while (db->writes.first && db->writes.first->deadline_ms <= loop_now_ms(db->loop))
        fail_later(queue_take(&db->writes), "SQLITE_BUSY", why);
    watch_overdue(db);
}

/* --- dispatch --- */

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
    struct sqlite_request *first = queue_take(q), *last = first;
    unsigned count = 1;

    while (may_share(first) && q->first && may_share(q->first) && count++ < BATCH_MAX) {
        last->next = queue_take(q);
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

static void dispatch(struct post *post)
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
    watch_overdue(db);
}

static void on_again(struct timer *timer)
{
    struct sqlite *db = (struct sqlite *)((char *)timer - offsetof(struct sqlite, again));

    dispatch(&db->dispatch);
}

/* --- outcomes --- */

/* Back into its queue, in front; one that turned out to write goes to the end of that queue. */
static void run_again(struct sqlite *db, const struct sqlite_conn *c, struct sqlite_request *r)
{
    r->state = REQUEST_QUEUED;
    if (r->outcome == OUTCOME_WRITES) {
        r->deadline_ms = loop_now_ms(db->loop) + db->busy_timeout_ms;
        queue_add(&db->writes, r);
    } else if (r->transaction && r->verb != VERB_BEGIN) {
        queue_put_first(&db->held, r);
    } else {
        queue_put_first(c->writes ? &db->writes : &db->reads, r);
    }
}

static void rollback_done(struct sqlite_request *r)
{
    sqlite_request_fini(r);
    free(r);
}

/* What a transaction still had to do when it ended. */
static void end_transaction(struct sqlite *db)
{
    db->transaction = 0;
    fail_all(&db->held, "SQLITE_MISUSE", "the transaction has ended");
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
    while ((r = queue_take(&batch))) {
        if (wants_again(db, r, busy)) {
            r->next = again; /* the last in front: they go back in front of the queue */
            again = r;
            continue;
        }
        settle_transaction(db, r);
        queue_add(over, r);
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

    queue_init(&over);
    c->running = false;
    sort_batch(c, &over, &busy);
    if (busy)
        pause_for_others(db, c);
    else if (c->writes)
        db->again_ms = 0;
    db->connections++; /* keeps `db` while others run */
    while ((r = queue_take(&over))) {
        db->ready = db->ready || (r->verb == VERB_OPEN && r->ok);
        r->done(r);
    }
    db->connections--;
    if (db->closed && !c->running)
        start_closing(c);
    else if (!db->closed)
        loop_post(db->loop, &db->dispatch);
}

/* --- the interface --- */

static bool reads_only(const char *sql)
{
    static const char *const words[] = {"select", "with", "values", "explain", "pragma"};
    const char *at = sqlite_skip_blank(sql);

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncasecmp(at, words[i], strlen(words[i])) == 0)
            return true;
    }
    return false;
}

static struct queue *first_queue(struct sqlite *db, const struct sqlite_request *r)
{
    const bool reads = r->verb == VERB_ROWS || r->verb == VERB_FIRST;

    if (r->transaction)
        return &db->held;
    return reads && db->name && reads_only(r->sql) ? &db->reads : &db->writes;
}

void sqlite_submit(struct sqlite *db, struct sqlite_request *r)
{
    r->db = db;
    r->deadline_ms = loop_now_ms(db->loop) + db->busy_timeout_ms;
    if (db->closed) {
        fail_later(r, "SQLITE_MISUSE", "the database is closed");
        return;
    }
    if (r->transaction && r->transaction != db->transaction) {
        fail_later(r, "SQLITE_MISUSE", "the transaction has ended");
        return;
    }
    r->state = REQUEST_QUEUED;
    queue_add(first_queue(db, r), r);
    if (r->verb == VERB_BEGIN)
        r->transaction = ++db->last_transaction;
    loop_post(db->loop, &db->dispatch);
}

void sqlite_cancel(struct sqlite_request *r)
{
    struct sqlite *db = r->db;

    atomic_store(&r->cancelled, true);
    if (r->state == REQUEST_RUNNING)
        return;
    if (!queue_remove(&db->reads, r) && !queue_remove(&db->writes, r) &&
        !queue_remove(&db->held, r))
        queue_remove(&db->failed, r);
    r->done(r);
    free_if_over(db);
}

bool sqlite_in_transaction(const struct sqlite *db, uint64_t transaction)
{
    return db->transaction == transaction;
}

void sqlite_rollback(struct sqlite *db, uint64_t transaction)
{
    struct sqlite_request *r;

    if (db->closed || db->transaction != transaction)
        return;
    r = mem_alloc(sizeof(*r));
    r->verb = VERB_ROLLBACK;
    r->transaction = transaction;
    r->done = rollback_done;
    r->cancelled = true; /* nobody waits for it */
    sqlite_submit(db, r);
}

static void copy_options(struct sqlite *db, const struct sqlite_options *options)
{
    db->root = mem_copy(options->root);
    db->name = mem_copy(options->name);
    db->migrations = mem_alloc((options->migration_count + 1) * sizeof(char *));
    for (size_t i = 0; i < options->migration_count; i++)
        db->migrations[i] = mem_copy(options->migrations[i]);
    db->migration_count = options->migration_count;
    db->busy_timeout_ms = options->busy_timeout_ms;
    db->max_size = options->max_size;
    db->readers_max = options->readers < READERS_MAX ? options->readers : READERS_MAX;
    if (db->readers_max == 0)
        db->readers_max = 1;
}

struct sqlite *
sqlite_open(struct loop *loop, const struct sqlite_options *options, struct sqlite_request *request)
{
    struct sqlite *db = mem_alloc(sizeof(*db));

    db->loop = loop;
    copy_options(db, options);
    queue_init(&db->reads);
    queue_init(&db->writes);
    queue_init(&db->held);
    queue_init(&db->failed);
    db->dispatch.run = dispatch;
    db->tell.run = tell_failed;
    db->again.fire = on_again;
    db->overdue.fire = on_overdue;
    db->writer = conn_new(db, true);
    request->verb = VERB_OPEN;
    sqlite_submit(db, request);
    return db;
}

void sqlite_close(struct sqlite *db)
{
    static const char code[] = "SQLITE_MISUSE", why[] = "the database was closed";

    db->closed = true;
    loop_unpost(db->loop, &db->dispatch);
    timer_stop(&db->again);
    timer_stop(&db->overdue);
    fail_all(&db->reads, code, why);
    fail_all(&db->writes, code, why);
    fail_all(&db->held, code, why);
    if (!db->writer->running)
        start_closing(db->writer);
    for (unsigned i = 0; i < db->reader_count; i++) {
        if (!db->readers[i]->running)
            start_closing(db->readers[i]);
    }
}
