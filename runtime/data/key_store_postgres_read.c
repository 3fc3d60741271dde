/* Reading: everything at the start and whenever something may have been missed, and what others
 * tell of. One statement reads keys and sessions, so they are of one moment.
 *
 * A reading shows the database as it was when it began. What ended meanwhile, here or elsewhere, is
 * kept in `ended` until it is done, so that it brings nothing back.
 */
#include "data/key_store_postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/mem.h"
#include "data/digest_map.h"
#include "data/key_row.h"
#include "data/sqlite_value.h"

enum {
    AGAIN_FIRST_MS = 250,
    AGAIN_MOST_MS = 10000,
    PRUNE_MS = 3600 * 1000,
    WORDS_MAX = 16384, /* bytes; when there are more, everything is read */
};

/* How long a revoked key is kept, for those who want to look it up. */
#define REVOKED_MS (INT64_C(30) * 24 * 3600 * 1000)

/* Several replicas may start at once: "if not exists" alone fails when they do. Looking first
 * spares a user who may not make tables.
 */
static const char make_tables[] =
    "DO $tables$ BEGIN"
    " PERFORM pg_advisory_xact_lock(7164820553181);"
    " IF to_regclass('buntime_keys') IS NULL OR to_regclass('buntime_sessions') IS NULL THEN"
    " CREATE TABLE IF NOT EXISTS buntime_keys ("
    "  digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32), id text NOT NULL UNIQUE, name "
    "text NOT NULL,"
    "  prefix text NOT NULL, role text NOT NULL, permissions text NOT NULL,"
    "  namespaces text NOT NULL, creator text NOT NULL, created bigint NOT NULL,"
    "  expires bigint NOT NULL, used bigint NOT NULL, revoked bigint NOT NULL);"
    " CREATE TABLE IF NOT EXISTS buntime_sessions ("
    "  digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32), key text NOT NULL, created "
    "bigint NOT NULL,"
    "  used bigint NOT NULL);"
    " CREATE INDEX IF NOT EXISTS buntime_sessions_by_key ON buntime_sessions (key);"
    " END IF; END $tables$";

/* The oldest key stays whatever became of it: that there ever was one closes the control plane. */
static const char prune[] =
    "WITH over AS (DELETE FROM buntime_sessions WHERE used < $1 OR created < $2)"
    " DELETE FROM buntime_keys WHERE revoked > 0 AND revoked < $3"
    " AND id <> (SELECT id FROM buntime_keys ORDER BY created, id LIMIT 1)";

#define KEYS                                                                            \
    "SELECT digest, id, name, prefix, role, permissions, namespaces, creator, created," \
    " expires, used, revoked, 0 AS session FROM buntime_keys"
#define SESSIONS                                                                    \
    " UNION ALL SELECT digest, key, '', '', '', '', '', '', created, 0, used, 0, 1" \
    " FROM buntime_sessions"
#define SORTED " ORDER BY session, created, id"

static const char read_all[] = KEYS SESSIONS SORTED;
static const char read_some[] = KEYS " WHERE id = ANY (string_to_array(trim($1), ' '))" SESSIONS
                                     " WHERE digest IN (SELECT decode(word, 'hex')"
                                     " FROM unnest(string_to_array(trim($2), ' ')) AS word)" SORTED;

/* --- words --- */

static bool has_word(const struct buf *words, const char *word)
{
    char text[SUBJECT_MAX + 3];

    snprintf(text, sizeof(text), " %s ", word);
    return words->len > 0 && strstr(words->data, text);
}

static void add_word(struct buf *words, const char *word)
{
    if (words->len == 0)
        buf_putc(words, ' ');
    if (!has_word(words, word))
        buf_printf(words, "%s ", word);
}

static bool is_subject(const char *word)
{
    const size_t len = strlen(word);

    return len > 0 && len <= SUBJECT_MAX && strspn(word, "0123456789abcdef-") == len;
}

void pgkeys_ended(struct shared_keys *store, const char *subject)
{
    if (store->busy)
        add_word(&store->ended, subject);
}

/* Also while that is still being written. */
static bool has_ended(const struct shared_keys *store, const char *subject)
{
    for (const struct key_statement *s = store->statements; s; s = s->next) {
        if (strcmp(s->ends, subject) == 0)
            return true;
    }
    return has_word(&store->ended, subject);
}

/* --- one thing after the other --- */

static void step(struct shared_keys *store);

/* The database's functions may not be called where this is. */
static void step_soon(struct shared_keys *store)
{
    if (!store->closing)
        loop_post(store->loop, &store->next);
}

static void next(struct post *post)
{
    step((struct shared_keys *)((char *)post - offsetof(struct shared_keys, next)));
}

static void again(struct timer *timer)
{
    step((struct shared_keys *)((char *)timer - offsetof(struct shared_keys, again)));
}

static void loaded(struct shared_keys *store, const struct err *err)
{
    const struct key_done done = store->loading;

    store->loading = (struct key_done){0};
    store->sink.read(store->sink.keyring, err);
    if (done.call)
        done.call(done.arg, err);
}

static void fail(struct shared_keys *store, const char *message)
{
    struct err err;

    store->made = false;
    store->all = true;
    store->again_ms = store->again_ms == 0 ? AGAIN_FIRST_MS : store->again_ms * 2;
    if (store->again_ms > AGAIN_MOST_MS)
        store->again_ms = AGAIN_MOST_MS;
    timer_start(store->loop, &store->again, store->again_ms);
    pgkeys_error(store, message, &err);
    loaded(store, &err);
}

static void submit(struct key_statement *s, void (*then)(struct key_statement *statement))
{
    s->ended = then;
    s->store->busy = true;
    pgkeys_submit(s);
}

/* False: it has failed, and goes on later. */
static bool came_through(struct key_statement *s)
{
    s->store->busy = false;
    if (!s->request.ok)
        fail(s->store, s->request.error.message);
    return s->request.ok;
}

/* --- tables --- */

static void put_prune(struct key_statement *s)
{
    struct timespec now;
    int64_t ms;

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (int64_t)now.tv_sec * 1000;
    pgkeys_put_time(s, ms - SESSION_IDLE_MS);
    pgkeys_put_time(s, ms - SESSION_LIFE_MS);
    pgkeys_put_time(s, ms - REVOKED_MS);
}

static void pruned(struct key_statement *s)
{
    if (came_through(s)) {
        s->store->made = true;
        step(s->store);
    }
}

static void tables_made(struct key_statement *s)
{
    struct key_statement *first_prune;

    if (!came_through(s))
        return;
    first_prune = pgkeys_statement(s->store, POSTGRES_EXEC, prune);
    put_prune(first_prune);
    submit(first_prune, pruned);
}

/* Now and then; when it fails it does so again in an hour. */
static void prune_again(struct timer *timer)
{
    struct shared_keys *store =
        (struct shared_keys *)((char *)timer - offsetof(struct shared_keys, prune));
    struct key_statement *s = pgkeys_statement(store, POSTGRES_EXEC, prune);

    put_prune(s);
    pgkeys_submit(s);
    timer_start(store->loop, &store->prune, PRUNE_MS);
}

/* --- reading --- */

static void take_row(struct shared_keys *store, const struct key_record *row, bool is_session)
{
    const struct session_record session = key_row_session(row);
    char subject[2 * DIGEST_BYTES + 1] = "";

    if (!row->digest)
        return;
    if (!is_session) {
        if (!has_ended(store, row->id))
            store->sink.key(store->sink.keyring, row);
        return;
    }
    hex_encode((struct str){(const char *)row->digest, DIGEST_BYTES}, subject);
    if (!has_ended(store, subject))
        store->sink.session(store->sink.keyring, &session);
}

static void take_rows(struct key_statement *s)
{
    const char *at = s->request.cells.data;
    struct buf text = {0};

    for (size_t i = 0; i < s->request.row_count; i++) {
        struct key_record row;
        struct sql_value is_session;

        at = sql_get(key_row_read(at, &text, &row), &is_session);
        take_row(s->store, &row, is_session.integer == 1);
    }
    buf_fini(&text);
    buf_reset(&s->store->ended);
}

static void all_read(struct key_statement *s)
{
    struct shared_keys *store = s->store;

    if (!came_through(s))
        return;
    take_rows(s);
    store->again_ms = 0;
    loaded(store, NULL);
    if (!timer_running(&store->prune))
        timer_start(store->loop, &store->prune, PRUNE_MS);
    step(store);
}

static void some_read(struct key_statement *s)
{
    if (!came_through(s))
        return;
    take_rows(s);
    step(s->store);
}

static void start_all(struct shared_keys *store)
{
    store->all = false;
    buf_reset(&store->keys);
    buf_reset(&store->sessions);
    buf_reset(&store->ended);
    store->sink.reading(store->sink.keyring);
    submit(pgkeys_statement(store, POSTGRES_ROWS, read_all), all_read);
}

static void start_some(struct shared_keys *store)
{
    struct key_statement *s = pgkeys_statement(store, POSTGRES_ROWS, read_some);

    pgkeys_put_text(s, store->keys.len > 0 ? store->keys.data : "");
    pgkeys_put_text(s, store->sessions.len > 0 ? store->sessions.data : "");
    buf_reset(&store->keys);
    buf_reset(&store->sessions);
    buf_reset(&store->ended);
    submit(s, some_read);
}

/* --- hearing --- */

static struct shared_keys *of_listener(struct postgres_listener *listener)
{
    return (struct shared_keys *)((char *)listener - offsetof(struct shared_keys, listener));
}

static void settled(struct postgres_listener *listener, const struct postgres_error *error)
{
    struct shared_keys *store = of_listener(listener);

    store->busy = false;
    store->listens = !error;
    if (error)
        fail(store, error->message);
    else
        step_soon(store);
}

static void restored(struct postgres_listener *listener)
{
    struct shared_keys *store = of_listener(listener);

    store->all = true;
    timer_stop(&store->again);
    step_soon(store);
}

static void hear_of(struct shared_keys *store, const char *kind, const char *subject)
{
    unsigned char digest[DIGEST_BYTES];
    const bool is_digest =
        strlen(subject) == 2 * sizeof(digest) && hex_decode(str_of(subject), (char *)digest);

    /* When all is to be read, that goes for these too. */
    if (strcmp(kind, "key") == 0) {
        if (!store->all)
            add_word(&store->keys, subject);
    } else if (strcmp(kind, "session") == 0 && is_digest) {
        if (!store->all)
            add_word(&store->sessions, subject);
    } else if (strcmp(kind, "revoked") == 0) {
        pgkeys_ended(store, subject);
        store->sink.key_revoked(store->sink.keyring, subject);
    } else if (strcmp(kind, "ended") == 0 && is_digest) {
        pgkeys_ended(store, subject);
        store->sink.session_ended(store->sink.keyring, digest);
    }
}

/* "key ID", "revoked ID", "session DIGEST", "ended DIGEST". */
static void heard(struct postgres_listener *listener, const char *payload, size_t len)
{
    struct shared_keys *store = of_listener(listener);
    const char *space = memchr(payload, ' ', len);
    char kind[16];

    if (!space || (size_t)(space - payload) >= sizeof(kind) || !is_subject(space + 1))
        return;
    snprintf(kind, sizeof(kind), "%.*s", (int)(space - payload), payload);
    hear_of(store, kind, space + 1);
    if (store->keys.len + store->sessions.len > WORDS_MAX)
        store->all = true;
    step_soon(store);
}

static void start_listening(struct shared_keys *store)
{
    store->busy = true;
    store->listener = (struct postgres_listener){
        .channel = KEY_CHANNEL, .settled = settled, .heard = heard, .restored = restored};
    postgres_listen(store->database, &store->listener);
}

/* --- what is next --- */

/* Who listens first and reads then misses nothing. */
static void step(struct shared_keys *store)
{
    if (store->closing || store->busy || !store->started || timer_running(&store->again))
        return;
    if (!store->made)
        submit(pgkeys_statement(store, POSTGRES_EXEC, make_tables), tables_made);
    else if (!store->listens)
        start_listening(store);
    else if (store->all)
        start_all(store);
    else if (store->keys.len + store->sessions.len > 0)
        start_some(store);
}

void pgkeys_load(struct key_store *base, struct key_done done)
{
    struct shared_keys *store = (struct shared_keys *)base;

    store->loading = done;
    store->started = store->all = true;
    store->next.run = next;
    store->again.fire = again;
    store->prune.fire = prune_again;
    step_soon(store);
}

void pgkeys_read_close(struct shared_keys *store)
{
    struct err err;

    timer_stop(&store->again);
    timer_stop(&store->prune);
    loop_unpost(store->loop, &store->next);
    if (store->listens || store->listener.pool)
        postgres_unlisten(&store->listener);
    pgkeys_error(store, "the server is shutting down", &err);
    if (store->loading.call)
        store->loading.call(store->loading.arg, &err);
}
