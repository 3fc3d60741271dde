#include "data/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "data/sqlite_impl.h"

void sqlite_request_fini(struct sqlite_request *r)
{
    free(r->sql);
    free(r->error.statement);
    buf_fini(&r->values);
    buf_fini(&r->names);
    buf_fini(&r->cells);
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

void sqlite_start_closing(struct sqlite_conn *c)
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
    while ((r = sqlite_queue_take(&db->failed)))
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
    sqlite_queue_add(&db->failed, r);
    loop_post(db->loop, &db->tell);
}

void sqlite_fail_all(struct queue *q, const char *code, const char *message)
{
    struct sqlite_request *r;

    while ((r = sqlite_queue_take(q)))
        fail_later(r, code, message);
}

/* --- waiting for the writer --- */

void sqlite_watch_overdue(struct sqlite *db)
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
        fail_later(sqlite_queue_take(&db->writes), "SQLITE_BUSY", why);
    sqlite_watch_overdue(db);
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
    sqlite_queue_add(first_queue(db, r), r);
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
    if (!sqlite_queue_remove(&db->reads, r) && !sqlite_queue_remove(&db->writes, r) &&
        !sqlite_queue_remove(&db->held, r))
        sqlite_queue_remove(&db->failed, r);
    r->done(r);
    free_if_over(db);
}

bool sqlite_in_transaction(const struct sqlite *db, uint64_t transaction)
{
    return db->transaction == transaction;
}

static void rollback_done(struct sqlite_request *r)
{
    sqlite_request_fini(r);
    free(r);
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
    sqlite_queue_init(&db->reads);
    sqlite_queue_init(&db->writes);
    sqlite_queue_init(&db->held);
    sqlite_queue_init(&db->failed);
    db->dispatch.run = sqlite_dispatch;
    db->tell.run = tell_failed;
    db->again.fire = sqlite_on_again;
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
    sqlite_fail_all(&db->reads, code, why);
    sqlite_fail_all(&db->writes, code, why);
    sqlite_fail_all(&db->held, code, why);
    if (!db->writer->running)
        sqlite_start_closing(db->writer);
    for (unsigned i = 0; i < db->reader_count; i++) {
        if (!db->readers[i]->running)
            sqlite_start_closing(db->readers[i]);
    }
}
