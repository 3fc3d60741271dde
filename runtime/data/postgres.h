/* PostgreSQL over libpq, without blocking: a pool of connections, and one more that listens.
 *
 * A request is one statement with its values; it waits in a queue until a connection is free.
 * Connections are made when there is need, and closed when there was none for a while. A
 * transaction holds its connection between its requests. Nothing here waits: what blocks in libpq
 * (names of hosts, PQcancel) is done on the thread pool.
 *
 * The caller owns a request until it is submitted, and again in `done`, which is called exactly
 * once; never from inside postgres_submit(), and from inside postgres_cancel() and postgres_close()
 * only for requests that were cancelled, whose `done` must not call anything here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct loop;
struct pg_conn;
struct postgres;

enum postgres_verb {
    POSTGRES_ROWS,
    POSTGRES_FIRST, /* at most one row is kept */
    POSTGRES_EXEC,  /* rows are thrown away */
    POSTGRES_BEGIN,
    POSTGRES_COMMIT,
    POSTGRES_SAVE, /* savepoint number `level` */
    POSTGRES_RELEASE,
    POSTGRES_UNDO, /* back to that savepoint, which is gone afterwards */
};

struct postgres_error {
    /* SQLSTATE; or CONNECTION_FAILED, CONNECTION_LOST, ACQUIRE_TIMEOUT, VALUE_COUNT,
     * RESULT_TOO_LARGE, USE_TRANSACTION, TRANSACTION_ENDED, NOT_SUPPORTED, CLOSED
     */
    char code[32];
    char message[512];
    size_t position;                  /* the character of the statement, from 1; 0: unknown */
    char *detail, *hint, *constraint; /* NULL: none; freed with the request */
};

struct postgres_request {
    enum postgres_verb verb;
    char *sql; /* NUL-terminated; freed by postgres_request_fini(), like the buffers */
    size_t sql_len;
    struct buf values; /* sql_put(); bound in order */
    unsigned value_count;
    uint64_t transaction; /* 0: none; BEGIN's answer */
    unsigned level;
    const void *holder; /* BEGIN: for whom, see postgres_holds() */
    bool cancelled;     /* nobody wants the outcome */
    void (*done)(struct postgres_request *request);

    bool ok; /* else `error` says why */
    struct postgres_error error;
    unsigned column_count;
    size_t row_count;
    struct buf names, cells; /* NUL-terminated names; rows × columns values, as sql_put() */
    int64_t changes;

    /* postgres*.c's own */
    struct postgres *pool;
    struct postgres_request *next;
    struct pg_conn *conn; /* that runs it, or will */
    uint64_t deadline_ms;
    struct buf sent; /* the statement as the server gets it */
    bool running, failed;
};

void postgres_request_fini(struct postgres_request *request);

struct postgres_options {
    const char *url;
    unsigned max;             /* most connections */
    uint64_t idle_timeout_ms; /* 0: never closed for being idle */
    uint64_t connect_timeout_ms;
    uint64_t statement_timeout_ms; /* 0: none */
    uint64_t acquire_timeout_ms;   /* how long a request waits for a connection */
    unsigned statements;           /* prepared ones that a connection keeps; 0: none */
};

/* Connects to nothing yet; fails for a URL that is none. All options are copied. */
struct postgres *
postgres_open(struct loop *loop, const struct postgres_options *options, struct err *err);
/* What still waits or runs fails with CLOSED. */
void postgres_close(struct postgres *pool);

const char *postgres_label(const struct postgres *pool); /* "user@host:port/name"; no password */

struct postgres_stats {
    unsigned open, idle, waiting; /* connections, those with nothing to do, requests in the queue */
};
struct postgres_stats postgres_stats(const struct postgres *pool);

void postgres_submit(struct postgres *pool, struct postgres_request *request);

/* Nobody wants the outcome any more. A statement that runs is cancelled at the server, but for
 * COMMIT. A BEGIN that comes through all the same is rolled back.
 */
void postgres_cancel(struct postgres_request *request);

/* Rolls the transaction back after what it has submitted; no-op if it has ended. */
void postgres_rollback(struct postgres *pool, uint64_t transaction);

bool postgres_in_transaction(const struct postgres *pool, uint64_t transaction);
bool postgres_holds(const struct postgres *pool, const void *holder); /* a transaction */

/* One who listens on a channel. The caller's, until postgres_unlisten() or postgres_close(). The
 * functions may call nothing here; they are told of everything once the server has agreed.
 */
struct postgres_listener {
    const char *channel;
    void (*settled)(struct postgres_listener *listener, const struct postgres_error *error);
    void (*heard)(struct postgres_listener *listener, const char *payload, size_t len);
    void (*restored)(struct postgres_listener *listener); /* messages may have been missed */

    struct postgres *pool;
    struct postgres_listener *next;
    enum { LISTENER_ASKED, LISTENER_SENT, LISTENER_ACTIVE } state;
    bool told; /* `settled` was called */
};

/* `settled` tells whether the server could be asked. From then on a lost connection is made anew.
 * When it says no, the listener is the caller's again.
 */
void postgres_listen(struct postgres *pool, struct postgres_listener *listener);
void postgres_unlisten(struct postgres_listener *listener);
