/* SQLite databases on the thread pool: for each, one connection that writes and a few that read.
 *
 * A request is one statement with its values; it waits in a queue on the loop until a connection
 * is free, runs on the thread pool, and comes back through `done` on the loop. A transaction holds
 * the writer between its requests. Nobody blocks a thread to wait for a lock: a busy database is
 * tried again by a timer.
 *
 * The caller owns a request until it is submitted, and again in `done`, which is called exactly
 * once, never from inside sqlite_submit() or sqlite_close(). A request may outlive the database's
 * owner: after sqlite_close() what runs is finished and what waits fails.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct loop;
struct sqlite;

enum sqlite_verb {
    VERB_OPEN, /* sqlite_open()'s */
    VERB_ROWS,
    VERB_FIRST, /* at most one row */
    VERB_EXEC,  /* rows are thrown away */
    VERB_BEGIN,
    VERB_COMMIT,
    VERB_ROLLBACK,
    VERB_SAVE, /* savepoint number `level` */
    VERB_RELEASE,
    VERB_UNDO, /* back to that savepoint, which is gone afterwards */
};

struct sqlite_error {
    char code[40]; /* SQLite's own name, "SQLITE_BUSY"; MIGRATION_CHANGED, RESULT_TOO_LARGE */
    char message[512];
    size_t position; /* the character of the statement, from 1; 0: unknown */
    char *statement; /* where it is not the request's own; freed with the request */
};

struct sqlite_request {
    enum sqlite_verb verb;
    char *sql; /* NUL-terminated; freed by sqlite_request_fini(), like the buffers */
    size_t sql_len;
    struct buf values; /* sql_put(); bound in order */
    unsigned value_count;
    uint64_t transaction; /* 0: none; BEGIN's answer */
    unsigned level;
    void (*done)(struct sqlite_request *request);

    bool ok; /* else `error` says why */
    struct sqlite_error error;
    unsigned column_count;
    size_t row_count;
    struct buf names, cells;  /* NUL-terminated names; rows × columns values */
    int64_t changes, last_id; /* EXEC */

    /* sqlite*.c's own */
    struct sqlite *db;
    struct sqlite_request *next;
    atomic_bool cancelled;
    uint64_t deadline_ms;
    enum { REQUEST_NEW, REQUEST_QUEUED, REQUEST_RUNNING, REQUEST_FAILED } state;
    enum { OUTCOME_DONE, OUTCOME_BUSY, OUTCOME_SLOW, OUTCOME_WRITES } outcome;
    bool alone; /* it was too slow to share a turn of a connection with others */
};

void sqlite_request_fini(struct sqlite_request *request);

struct sqlite_options {
    const char *root; /* the folder that names are in; made when missing */
    const char *name; /* NULL: in memory */
    char *const *migrations;
    size_t migration_count;
    uint64_t busy_timeout_ms; /* how long a request waits for the writer */
    unsigned readers;         /* most connections that read */
    uint64_t max_size;        /* bytes the file may have; 0: no limit */
};

/* Opens the file and applies the migrations; `request` (zeroed but for `done`) tells how it went.
 * Never NULL; to be closed also when opening failed. All options are copied.
 */
struct sqlite *sqlite_open(struct loop *loop,
                           const struct sqlite_options *options,
                           struct sqlite_request *request);

/* Ends a transaction that is open by a rollback. The files are closed on the thread pool. */
void sqlite_close(struct sqlite *db);

void sqlite_submit(struct sqlite *db, struct sqlite_request *request);

/* Nobody wants the outcome any more: `done` is called at once if the request still waits, else when
 * its statement was interrupted. COMMIT and ROLLBACK are not interrupted. A BEGIN that comes
 * through all the same is rolled back.
 */
void sqlite_cancel(struct sqlite_request *request);

/* Rolls the transaction back after what it has submitted; no-op if it has ended. */
void sqlite_rollback(struct sqlite *db, uint64_t transaction);

bool sqlite_in_transaction(const struct sqlite *db, uint64_t transaction);
