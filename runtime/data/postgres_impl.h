/* What postgres*.c share. Not for other folders.
 *
 * One thing holds everywhere: `done` of a request that somebody waits for is only called by
 * pg_tell(), which the handlers of the loop's events call last, when no connection is in their
 * hands any more. So nothing that a plugin does in between can pull one from under them.
 */
#pragma once

#include <locale.h>

#include "data/libpq.h"
#include "data/postgres.h"
#include "data/resolve.h"
#include "data/sqlite_value.h"
#include "ev/loop.h"
#include "ev/poll.h"

enum {
    PG_STATEMENTS_MAX = 256, /* prepared ones that a connection keeps, at most */
    PG_RESULT_MAX = 64 << 20,
    PG_AGAIN_MS = 100,   /* then what was cancelled and still runs is cancelled again */
    PG_CANCEL_MS = 5000, /* after which a connection that does not give way is closed */
    PG_GRACE_MS = 5000,  /* beyond the statement's own limit, which the server holds */
};

/* A statement that a connection has run. It is prepared when it comes a second time. */
struct pg_statement {
    char *key;
    size_t len;
    uint64_t hash, used;
    unsigned id; /* "s<id>" at the server */
    bool prepared;
};

enum pg_state {
    PG_RESOLVING,
    PG_CONNECTING,
    PG_SETTING_UP,
    PG_IDLE, /* free, or waiting for the next request of its transaction */
    PG_RUNNING,
};

/* What the server works on. */
enum pg_step {
    PG_STEP_SETUP,
    PG_STEP_FORGET, /* a prepared statement that makes place */
    PG_STEP_PREPARE,
    PG_STEP_RUN,
    PG_STEP_ROLLBACK, /* no request */
    PG_STEP_LISTEN,   /* no request */
};

struct pg_queue {
    struct postgres_request *first, **last;
    unsigned count;
};

struct pg_conn {
    struct poll poll;   /* first: ready() casts back */
    struct timer timer; /* of the state: connecting, running or idle for too long */
    struct resolve resolve;
    struct postgres *pool;
    struct pg_conn *next;
    PGconn *pg;
    enum pg_state state;
    enum pg_step step;
    unsigned events;   /* that are watched for */
    unsigned setup;    /* which statement of the setup */
    char problem[512]; /* of a step without a request */
    bool listens;      /* the pool's listener, which runs no requests */
    bool lost;         /* freed by pg_sweep() */
    bool resolving;    /* on the thread pool; kept until then */

    struct postgres_request *request;
    struct pg_queue held; /* of its transaction */
    uint64_t transaction;
    const void *holder;
    bool ending;    /* ROLLBACK when `held` is empty */
    bool failed;    /* this step */
    bool too_large; /* rows are thrown away */
    bool retried;   /* without its prepared statement */
    bool gives_way; /* the request was told to end */
    bool wants_cancel, cancelling;

    struct pg_statement statements[PG_STATEMENTS_MAX];
    unsigned statement_count, last_statement;
    struct pg_statement *statement; /* of the request, or NULL */
    unsigned forgotten;             /* id of the one that makes place */
    uint64_t clock;
};

/* One PQcancel() at a time: each takes a thread of the pool, and longer when the network is gone.
 */
struct pg_canceller {
    struct job job;
    PGcancel *cancel;
    struct pg_conn *conn; /* NULL: it is gone meanwhile */
    struct timer again;
    bool running;
};

struct pg_settings {
    char **names, **values;
    unsigned count;
};

struct postgres {
    struct loop *loop;
    struct pg_settings settings;
    struct postgres_options limits;
    char label[192];
    locale_t c_locale; /* numbers have a point, whatever os.setlocale() said */

    struct pg_conn *conns;
    unsigned open, connecting;
    uint64_t grow_after_ms; /* a connection failed while others live */
    struct timer grow;
    struct pg_queue waiting, finished;
    struct timer overdue; /* the first of `waiting` has waited too long */
    struct post tell;
    uint64_t last_transaction;
    struct pg_canceller canceller;
    struct buf scratch;

    struct pg_conn *listening;
    struct postgres_listener *listeners;
    struct buf unlisten; /* statements for channels that nobody wants any more */
    struct timer again;
    unsigned again_ms;

    unsigned pins; /* kept by jobs and by pg_tell() */
    bool closed;
};

/* --- postgres.c: the pool --- */
void pg_queue_add(struct pg_queue *q, struct postgres_request *r);
struct postgres_request *pg_queue_take(struct pg_queue *q);

/* Puts it among those that pg_tell() tells. */
void pg_finish(struct postgres_request *r);
void pg_fail(struct postgres_request *r, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pg_error_fini(struct postgres_error *error); /* empty again */
void pg_dispatch(struct postgres *pool);
void pg_tell(struct postgres *pool); /* may free the pool */
void pg_unpin(struct postgres *pool);

/* --- postgres_url.c --- */
bool pg_settings_parse(struct pg_settings *settings, const char *url, struct err *err);
void pg_settings_fini(struct pg_settings *settings);
const char *pg_setting(const struct pg_settings *settings, const char *name); /* or NULL */
void pg_settings_label(const struct pg_settings *settings, char *label, size_t size);

/* The same with the addresses of the hosts. */
void pg_settings_resolved(const struct pg_settings *settings,
                          const struct resolve *resolve,
                          struct pg_settings *out);

/* The hosts to look up, NULL: none. Freed by pg_hosts_free(). */
char **pg_hosts(const struct pg_settings *settings, unsigned *count);
void pg_hosts_free(char **hosts, unsigned count);

/* --- postgres_connection.c --- */
void pg_conn_new(struct postgres *pool, bool listens);
void pg_connect_failed(struct pg_conn *c, const char *message);
void pg_setup_next(struct pg_conn *c); /* after each of its steps */

/* Closes it at once and tells its requests why. Freed by the handler of events, or by pg_sweep().
 */
void pg_conn_lose(struct pg_conn *c, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pg_sweep(struct postgres *pool);

/* Has something to send or to hear. */
void pg_conn_watch(struct pg_conn *c);

/* --- postgres_run.c --- */
void pg_run(struct pg_conn *c, struct postgres_request *r);
void pg_next(struct pg_conn *c); /* the connection has nothing to do: what next? */
bool pg_send_step(struct pg_conn *c, enum pg_step step, const char *sql);

/* Takes what has arrived. */
void pg_receive(struct pg_conn *c);

/* --- postgres_result.c --- */
void pg_take_result(struct pg_conn *c, PGresult *result);
void pg_take_error(struct postgres_request *r, const PGresult *result);

/* --- postgres_statement.c --- */
/* Decides how the request goes: sets `statement` and the step to begin with. */
enum pg_step pg_statement_choose(struct pg_conn *c, const struct postgres_request *r);
bool pg_statement_send(struct pg_conn *c, struct postgres_request *r);
void pg_statement_drop(struct pg_conn *c); /* the server does not know it any more */
void pg_statements_free(struct pg_conn *c);

/* --- postgres_value.c --- */
struct pg_params {
    const char **values;
    int *lengths, *formats;
    Oid *types;
    struct buf text;
};

void pg_params_init(struct pg_params *params, const struct postgres_request *r);
void pg_params_fini(struct pg_params *params);

void pg_value_read(
    struct postgres *pool, const PGresult *result, int row, int column, struct buf *out);

/* --- postgres_cancel.c --- */
void pg_cancel(struct pg_conn *c);        /* what it runs */
void pg_cancel_forget(struct pg_conn *c); /* it is going */

/* --- postgres_listen.c --- */
void pg_listen_next(struct pg_conn *c);          /* it is idle */
void pg_listen_done(struct pg_conn *c, bool ok); /* what was asked for */
void pg_listen_heard(struct pg_conn *c);         /* PQnotifies() */
void pg_listen_lost(struct postgres *pool, const char *code, const char *message);
void pg_listen_close(struct postgres *pool);
