/* What key_store_sqlite*.c share. */
#pragma once

#include "data/key_store.h"
#include "data/sqlite.h"

#define KEY_FILE "keys.db"

struct store {
    struct key_store store; /* first */
    struct loop *loop;
    char *dir;
    struct key_sink sink;
    struct sqlite *db; /* NULL: not open */
    unsigned changes;  /* that have not ended */
    bool closed;
};

/* --- one change: statements that are submitted together --- */

struct change {
    struct store *store;
    struct key_done done;
    unsigned open; /* statements that have not ended */
    bool failed;
    struct err err; /* of the first that failed */
};

struct statement {
    struct sqlite_request request; /* first */
    struct change *change;
    void (*ended)(struct statement *statement); /* load()'s */
    unsigned step;
};

struct statement *store_statement(struct change *change, enum sqlite_verb verb, const char *sql);
void store_put_integer(struct statement *statement, int64_t value);
void store_submit(struct statement *statement);
void store_fail(struct change *change, const char *what);

/* A change with the database open; NULL when that failed, which `done` is told. */
struct change *store_begin(struct key_store *store, struct key_done done);

/* A change with nothing to do. */
void store_nothing(struct key_store *store, struct key_done done);

/* --- key_store_sqlite_load.c --- */
void store_load(struct key_store *store, struct key_done done);
