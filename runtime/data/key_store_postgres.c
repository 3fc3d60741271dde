/* Keys and sessions in PostgreSQL, for several replicas. A change is one statement that also tells
 * the others, so either both or nothing is committed.
 */
#include "data/key_store_postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "data/digest_map.h"
#include "data/sqlite_value.h"

#define TELL "SELECT pg_notify('" KEY_CHANNEL "', "

static void free_idle(struct shared_keys *store)
{
    if (!store->closed || store->statements)
        return;
    buf_fini(&store->keys);
    buf_fini(&store->sessions);
    buf_fini(&store->ended);
    free(store);
}

void pgkeys_error(const struct shared_keys *store, const char *message, struct err *err)
{
    err_set(err, "KEY_STORE_FAILED", "%s: %s", postgres_label(store->database), message);
}

/* --- statements --- */

static void forget(struct key_statement *statement)
{
    struct key_statement **at = &statement->store->statements;

    while (*at != statement)
        at = &(*at)->next;
    *at = statement->next;
}

static void ended(struct postgres_request *request)
{
    struct key_statement *statement = (struct key_statement *)request;
    struct shared_keys *store = statement->store;
    struct err err;

    forget(statement);
    if (request->ok && *statement->ends)
        pgkeys_ended(store, statement->ends);
    if (statement->ended && !store->closing)
        statement->ended(statement);
    if (!request->ok)
        pgkeys_error(store, request->error.message, &err);
    if (statement->done.call)
        statement->done.call(statement->done.arg, request->ok ? NULL : &err);
    postgres_request_fini(request);
    free(statement);
    free_idle(store);
}

struct key_statement *
pgkeys_statement(struct shared_keys *store, enum postgres_verb verb, const char *sql)
{
    struct key_statement *statement = mem_alloc(sizeof(*statement));

    statement->store = store;
    statement->request.verb = verb;
    statement->request.done = ended;
    statement->request.sql = mem_copy(sql);
    statement->request.sql_len = strlen(sql);
    return statement;
}

static void put(struct key_statement *s, struct sql_value value)
{
    sql_put(&s->request.values, &value);
    s->request.value_count++;
}

void pgkeys_put_text(struct key_statement *s, const char *text)
{
    put(s, (struct sql_value){.type = SQL_TEXT, .bytes = str_of(text)});
}

void pgkeys_put_time(struct key_statement *s, int64_t value)
{
    put(s, (struct sql_value){.type = SQL_INTEGER, .integer = value});
}

static void put_digest(struct key_statement *s, const unsigned char *digest)
{
    const struct str bytes = {(const char *)digest, DIGEST_BYTES};

    put(s, (struct sql_value){.type = SQL_BLOB, .bytes = bytes});
}

void pgkeys_submit(struct key_statement *s)
{
    s->next = s->store->statements;
    s->store->statements = s;
    postgres_submit(s->store->database, &s->request);
}

/* --- changes --- */

static struct key_statement *change(struct key_store *store, struct key_done done, const char *sql)
{
    struct key_statement *s = pgkeys_statement((struct shared_keys *)store, POSTGRES_EXEC, sql);

    s->done = done;
    return s;
}

static void add_key(struct key_store *store, const struct key_record *key, struct key_done done)
{
    struct key_statement *s =
        change(store, done,
               "WITH made AS (INSERT INTO buntime_keys (digest, id, name, prefix, role,"
               " permissions, namespaces, creator, created, expires, used, revoked)"
               " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0) RETURNING id) " TELL
               "'key ' || id) FROM made");

    put_digest(s, key->digest);
    pgkeys_put_text(s, key->id);
    pgkeys_put_text(s, key->name);
    pgkeys_put_text(s, key->prefix);
    pgkeys_put_text(s, key->role);
    pgkeys_put_text(s, key->permissions);
    pgkeys_put_text(s, key->namespaces);
    pgkeys_put_text(s, key->creator);
    pgkeys_put_time(s, key->created);
    pgkeys_put_time(s, key->expires);
    pgkeys_submit(s);
}

static void revoke_key(struct key_store *store, const char *id, int64_t now, struct key_done done)
{
    struct key_statement *s = change(store, done,
                                     "WITH revoked AS (UPDATE buntime_keys SET revoked = $2"
                                     " WHERE id = $1 AND revoked = 0),"
                                     " ended AS (DELETE FROM buntime_sessions WHERE key = $1) " TELL
                                     "'revoked ' || $1::text)");

    pgkeys_put_text(s, id);
    pgkeys_put_time(s, now);
    snprintf(s->ends, sizeof(s->ends), "%s", id);
    pgkeys_submit(s);
}

static void use_key(struct key_store *store, const char *id, int64_t now, struct key_done done)
{
    struct key_statement *s =
        change(store, done,
               "WITH used AS (UPDATE buntime_keys"
               " SET used = greatest(used, $2) WHERE id = $1 RETURNING id) " TELL
               "'key ' || id) FROM used");

    pgkeys_put_text(s, id);
    pgkeys_put_time(s, now);
    pgkeys_submit(s);
}

static void
add_session(struct key_store *store, const struct session_record *session, struct key_done done)
{
    struct key_statement *s =
        change(store, done,
               "WITH begun AS (INSERT INTO buntime_sessions (digest, key, created, used)"
               " VALUES ($1, $2, $3, $4) RETURNING digest) " TELL
               "'session ' || encode(digest, 'hex')) FROM begun");

    put_digest(s, session->digest);
    pgkeys_put_text(s, session->key);
    pgkeys_put_time(s, session->created);
    pgkeys_put_time(s, session->used);
    pgkeys_submit(s);
}

static void
use_session(struct key_store *store, const unsigned char *digest, int64_t now, struct key_done done)
{
    struct key_statement *s =
        change(store, done,
               "WITH used AS (UPDATE buntime_sessions SET used = greatest(used, $2)"
               " WHERE digest = $1 RETURNING digest) " TELL
               "'session ' || encode(digest, 'hex')) FROM used");

    put_digest(s, digest);
    pgkeys_put_time(s, now);
    pgkeys_submit(s);
}

static void end_session(struct key_store *store, const unsigned char *digest, struct key_done done)
{
    struct key_statement *s =
        change(store, done,
               "WITH ended AS (DELETE FROM buntime_sessions WHERE digest = $1) " TELL
               "'ended ' || encode($1, 'hex'))");

    put_digest(s, digest);
    hex_encode((struct str){(const char *)digest, DIGEST_BYTES}, s->ends);
    pgkeys_submit(s);
}

/* --- life --- */

/* Who waits is told now; what runs ends when the pool is closed, if not before. */
static void close_store(struct key_store *base)
{
    struct shared_keys *store = (struct shared_keys *)base;
    struct key_statement *next;

    store->closing = true;
    pgkeys_read_close(store);
    for (struct key_statement *s = store->statements; s; s = next) {
        const struct key_done done = s->done;
        struct err err;

        next = s->next;
        s->done = (struct key_done){0};
        pgkeys_error(store, "the server is shutting down", &err);
        if (done.call)
            done.call(done.arg, &err);
    }
    for (struct key_statement *s = store->statements; s; s = next) {
        next = s->next;
        postgres_cancel(&s->request);
    }
    store->closed = true;
    free_idle(store);
}

struct key_store *
key_store_postgres(struct loop *loop, struct postgres *database, const struct key_sink *sink)
{
    struct shared_keys *store = mem_alloc(sizeof(*store));

    store->store = (struct key_store){
        .shared = true,
        .load = pgkeys_load,
        .add_key = add_key,
        .revoke_key = revoke_key,
        .use_key = use_key,
        .add_session = add_session,
        .use_session = use_session,
        .end_session = end_session,
        .close = close_store,
    };
    store->loop = loop;
    store->database = database;
    store->sink = *sink;
    return &store->store;
}
