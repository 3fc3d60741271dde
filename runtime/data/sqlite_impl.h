/* What sqlite*.c share. Not for other folders. */
#pragma once

#include <sqlite3.h>

#include "data/sqlite.h"
#include "ev/loop.h"

enum {
    STATEMENTS_MAX = 64, /* prepared ones that a connection keeps */
    READERS_MAX = 16,
    BATCH_MAX = 16,  /* requests that a connection takes at once */
    BUDGET_US = 500, /* what a request may take while others wait for the same turn */
    RESULT_MAX = 64 << 20,
};

struct statement {
    sqlite3_stmt *handle;
    char *sql;
    size_t len;
    uint64_t hash, used;
    unsigned value_count; /* how many values it wants */
    bool numbered;        /* $1 $2 …: the name says which value */
    bool slow;            /* ran over the budget */
};

/* A connection. The thread that runs its job has it for itself; between jobs the loop has. */
struct sqlite_conn {
    struct job job; /* first: jobs cast back */
    struct sqlite *db;
    bool writes;
    bool running;
    struct sqlite_request *batch;
    sqlite3 *handle; /* NULL: not open yet */
    struct statement statements[STATEMENTS_MAX];
    unsigned statement_count;
    uint64_t clock;

    /* while a request runs */
    const struct sqlite_request *current; /* NULL: not to be interrupted */
    uint64_t budget_end_ns;               /* 0: no budget */
    bool own;                             /* a statement of ours, which may do what users may not */
    bool stepping;
    const char *denied; /* why the authorizer said no */
};

struct queue {
    struct sqlite_request *first, **last;
};

struct sqlite {
    struct loop *loop;
    char *root, *name;
    char **migrations;
    size_t migration_count;
    uint64_t busy_timeout_ms, max_size;
    struct sqlite_conn *writer, *readers[READERS_MAX];
    unsigned reader_count, readers_max;
    unsigned connections; /* that are not freed yet */
    bool ready;           /* opened */
    bool closed;

    struct queue reads, writes, held; /* `held`: of the transaction that has the writer */
    struct queue failed;              /* to be told on a later turn */
    uint64_t transaction, last_transaction;
    struct post dispatch, tell;
    struct timer again; /* after the database was busy */
    unsigned again_ms;
    bool reads_paused;    /* by a reader that found it busy; else only the writer pauses */
    struct timer overdue; /* the first of `writes` has waited too long */
};

/* --- sqlite_queue.c --- */
void sqlite_queue_init(struct queue *q);
void sqlite_queue_add(struct queue *q, struct sqlite_request *r);
void sqlite_queue_put_first(struct queue *q, struct sqlite_request *r);
struct sqlite_request *sqlite_queue_take(struct queue *q); /* NULL: empty */
bool sqlite_queue_remove(struct queue *q, struct sqlite_request *r);

/* --- sqlite.c --- */
void sqlite_fail_all(struct queue *q, const char *code, const char *message);
void sqlite_watch_overdue(struct sqlite *db); /* after `writes` has changed */
void sqlite_start_closing(struct sqlite_conn *c);

/* --- sqlite_dispatch.c --- */
void sqlite_dispatch(struct post *post); /* `dispatch` of a database */
void sqlite_on_again(struct timer *timer);

/* --- sqlite_connection.c: on a thread of the pool --- */
struct sqlite_conn *conn_new(struct sqlite *db, bool writes);
void conn_close(struct sqlite_conn *c); /* but does not free it */

/* SQLITE_OK, or another result with `error` set. */
int conn_open(struct sqlite_conn *c, struct sqlite_error *error);

/* A cached statement for the text, or a new one. */
int conn_prepare(struct sqlite_conn *c,
                 const char *sql,
                 size_t len,
                 struct statement **statement,
                 struct sqlite_error *error);

/* Runs a statement of ours. */
int conn_exec(struct sqlite_conn *c, const char *sql, struct sqlite_error *error);

/* Takes what the connection last failed with. Returns `rc`. */
int conn_error(struct sqlite_conn *c, int rc, const char *sql, struct sqlite_error *error);

/* Sets an error of our own. Returns `rc`. */
int sqlite_fail(struct sqlite_error *error, int rc, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* How many characters the first `len` bytes are. */
size_t sqlite_characters(const char *sql, size_t len);

/* Past white space, comments and semicolons. */
const char *sqlite_skip_blank(const char *at);

/* --- sqlite_authorize.c --- */
int sqlite_authorize(
    void *connection, int action, const char *a, const char *b, const char *db, const char *in);

/* --- sqlite_run.c --- */
void conn_run(struct sqlite_conn *c, struct sqlite_request *request, bool shared);

/* --- sqlite_migrate.c --- */
int sqlite_migrate(struct sqlite_conn *c, struct sqlite_error *error);

/* --- sqlite_codes.c --- */
const char *sqlite_code_name(int extended);
