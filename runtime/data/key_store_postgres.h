/* What key_store_postgres*.c share. */
#pragma once

#include "base/buf.h"
#include "data/key_store.h"
#include "data/postgres.h"
#include "ev/loop.h"

#define KEY_CHANNEL "buntime_keys"

enum { SUBJECT_MAX = 64 }; /* a key's id, or a session's digest in hexadecimal */

/* One that is on its way. What it is about, if it ends that: until it has, nothing that is read
 * brings it back.
 */
struct key_statement {
    struct postgres_request request; /* first */
    struct shared_keys *store;
    struct key_statement *next;
    struct key_done done;
    void (*ended)(struct key_statement *statement); /* before `done`, unless the store is closed */
    char ends[SUBJECT_MAX + 1];
};

struct shared_keys {
    struct key_store store; /* first */
    struct loop *loop;
    struct postgres *database;
    struct key_sink sink;
    struct key_statement *statements; /* that have not ended */
    bool closing, closed;             /* closed: goes with the last statement */

    /* key_store_postgres_read.c: one thing at a time, then what is next. */
    struct postgres_listener listener;
    struct key_done loading; /* the first reading */
    struct post next;
    struct timer again, prune;
    unsigned again_ms;
    bool busy, started, made, listens;
    bool all;                  /* everything is to be read */
    struct buf keys, sessions; /* else these: words, each with a space on both sides */
    struct buf ended;          /* while it is read */
};

struct key_statement *
pgkeys_statement(struct shared_keys *store, enum postgres_verb verb, const char *sql);
void pgkeys_put_text(struct key_statement *statement, const char *text);
void pgkeys_put_time(struct key_statement *statement, int64_t value);
void pgkeys_submit(struct key_statement *statement);

/* Why it failed, as callers are told. */
void pgkeys_error(const struct shared_keys *store, const char *message, struct err *err);

/* --- key_store_postgres_read.c --- */
void pgkeys_load(struct key_store *store, struct key_done done);
void pgkeys_ended(struct shared_keys *store, const char *subject); /* whatever is being read says */
void pgkeys_read_close(struct shared_keys *store);
