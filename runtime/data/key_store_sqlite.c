/* Keys and sessions in a SQLite file. A key that was revoked leaves its row: that there ever was a
 * key is what closes the control plane.
 */
#include "data/key_store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/digest_map.h"
#include "data/files.h"
#include "data/sqlite_value.h"
#include "ev/loop.h"

enum { BUSY_MS = 5000 };

static char migration[] = "CREATE TABLE keys ("
                          " id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL,"
                          " prefix TEXT NOT NULL, role TEXT NOT NULL, permissions TEXT NOT NULL,"
                          " namespaces TEXT NOT NULL, creator TEXT NOT NULL,"
                          " created INTEGER NOT NULL, expires INTEGER NOT NULL,"
                          " used INTEGER NOT NULL, revoked INTEGER NOT NULL) STRICT;"
                          "CREATE TABLE sessions ("
                          " digest BLOB PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,"
                          " used INTEGER NOT NULL) STRICT;"
                          "CREATE INDEX sessions_by_key ON sessions (key);";

static struct change *change_new(struct store *store, struct key_done done)
{
    struct change *change = mem_alloc(sizeof(*change));

    change->store = store;
    change->done = done;
    store->changes++;
    return change;
}

static void free_idle(struct store *store)
{
    if (!store->closed || store->changes > 0)
        return;
    free(store->dir);
    free(store);
}

void store_fail(struct change *change, const char *what)
{
    if (!change->failed)
        err_set(&change->err, "KEY_STORE_FAILED", "%s/" KEY_FILE ": %s", change->store->dir, what);
    change->failed = true;
}

static void change_end(struct change *change)
{
    if (change->done.call)
        change->done.call(change->done.arg, change->failed ? &change->err : NULL);
    change->store->changes--;
    free_idle(change->store);
    free(change);
}

static void ended(struct sqlite_request *request)
{
    struct statement *statement = (struct statement *)request;
    struct change *change = statement->change;

    if (!request->ok)
        store_fail(change, request->error.message);
    change->open--;
    if (statement->ended)
        statement->ended(statement);
    sqlite_request_fini(request);
    free(statement);
    if (change->open == 0)
        change_end(change);
}

struct statement *store_statement(struct change *change, enum sqlite_verb verb, const char *sql)
{
    struct statement *statement = mem_alloc(sizeof(*statement));

    statement->change = change;
    statement->request.verb = verb;
    statement->request.done = ended;
    statement->request.sql = mem_copy(sql);
    statement->request.sql_len = sql ? strlen(sql) : 0;
    change->open++;
    return statement;
}

void store_put_integer(struct statement *s, int64_t value)
{
    sql_put(&s->request.values, &(struct sql_value){.type = SQL_INTEGER, .integer = value});
    s->request.value_count++;
}

static void put_text(struct statement *s, const char *text)
{
    sql_put(&s->request.values, &(struct sql_value){.type = SQL_TEXT, .bytes = str_of(text)});
    s->request.value_count++;
}

static void put_digest(struct statement *s, const unsigned char *digest)
{
    const struct str bytes = {(const char *)digest, DIGEST_BYTES};

    sql_put(&s->request.values, &(struct sql_value){.type = SQL_BLOB, .bytes = bytes});
    s->request.value_count++;
}

void store_submit(struct statement *s)
{
    sqlite_submit(s->change->store->db, &s->request);
}

/* --- the file --- */

/* SQLite gives its other files the mode of this one. */
static int make_file(const char *dir)
{
    struct stat info;
    int root, fd, rc = files_root(dir, true, &root);

    if (rc != 0)
        return rc;
    fd = openat(root, KEY_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &info) != 0)
        rc = errno;
    else if (!S_ISREG(info.st_mode))
        rc = EINVAL;
    else if ((info.st_mode & 0777) != 0600 && fchmod(fd, 0600) != 0)
        rc = errno;
    if (fd >= 0)
        close(fd);
    close(root);
    return rc;
}

static void opened(struct statement *statement)
{
    struct store *store = statement->change->store;

    if (statement->request.ok || !store->db)
        return;
    sqlite_close(store->db); /* the next change tries again */
    store->db = NULL;
}

static bool open_file(struct store *store, struct change *change)
{
    static char *migrations[] = {migration};
    const struct sqlite_options options = {
        .root = store->dir,
        .name = KEY_FILE,
        .migrations = migrations,
        .migration_count = 1,
        .busy_timeout_ms = BUSY_MS,
        .readers = 1,
    };
    struct statement *statement;
    const int rc = store->db ? 0 : make_file(store->dir);

    if (rc != 0)
        store_fail(change, strerror(rc));
    if (store->db || rc != 0)
        return rc == 0;
    statement = store_statement(change, VERB_OPEN, NULL);
    statement->ended = opened;
    store->db = sqlite_open(store->loop, &options, &statement->request);
    return true;
}

/* For `done`, which must not be called from inside. */
struct later {
    struct post post; /* first */
    struct change *change;
};

static void end_late(struct post *post)
{
    struct later *later = (struct later *)post;
    struct change *change = later->change;

    free(later);
    change_end(change);
}

static void end_later(struct change *change)
{
    struct later *later = mem_alloc(sizeof(*later));

    later->post.run = end_late;
    later->change = change;
    loop_post(change->store->loop, &later->post);
}

struct change *store_begin(struct key_store *base, struct key_done done)
{
    struct store *store = (struct store *)base;
    struct change *change = change_new(store, done);

    if (open_file(store, change))
        return change;
    end_later(change);
    return NULL;
}

void store_nothing(struct key_store *base, struct key_done done)
{
    end_later(change_new((struct store *)base, done));
}

/* --- changes --- */

/* What decides who may call must have reached the disk before it is answered. */
static void sync_file(struct change *change)
{
    store_submit(store_statement(change, VERB_EXEC, "PRAGMA wal_checkpoint(FULL)"));
}

static void add_key(struct key_store *base, const struct key_record *key, struct key_done done)
{
    struct change *change = store_begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = store_statement(change, VERB_EXEC,
                        "INSERT INTO keys (digest, id, name, prefix, role, permissions, namespaces,"
                        " creator, created, expires, used, revoked)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)");
    put_digest(s, key->digest);
    put_text(s, key->id);
    put_text(s, key->name);
    put_text(s, key->prefix);
    put_text(s, key->role);
    put_text(s, key->permissions);
    put_text(s, key->namespaces);
    put_text(s, key->creator);
    store_put_integer(s, key->created);
    store_put_integer(s, key->expires);
    store_submit(s);
    sync_file(change);
}

static void revoke_key(struct key_store *base, const char *id, int64_t now, struct key_done done)
{
    struct change *change = store_begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = store_statement(change, VERB_EXEC, "UPDATE keys SET revoked = ? WHERE id = ?");
    store_put_integer(s, now);
    put_text(s, id);
    store_submit(s);
    s = store_statement(change, VERB_EXEC, "DELETE FROM sessions WHERE key = ?");
    put_text(s, id);
    store_submit(s);
    sync_file(change);
}

static void use_key(struct key_store *base, const char *id, int64_t now, struct key_done done)
{
    struct change *change = store_begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = store_statement(change, VERB_EXEC, "UPDATE keys SET used = ? WHERE id = ?");
    store_put_integer(s, now);
    put_text(s, id);
    store_submit(s);
}

static void
add_session(struct key_store *base, const struct session_record *session, struct key_done done)
{
    struct change *change = store_begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = store_statement(change, VERB_EXEC,
                        "INSERT INTO sessions (digest, key, created, used) VALUES (?, ?, ?, ?)");
    put_digest(s, session->digest);
    put_text(s, session->key);
    store_put_integer(s, session->created);
    store_put_integer(s, session->used);
    store_submit(s);
}

static void
use_session(struct key_store *base, const unsigned char *digest, int64_t now, struct key_done done)
{
    struct change *change = store_begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = store_statement(change, VERB_EXEC, "UPDATE sessions SET used = ? WHERE digest = ?");
    store_put_integer(s, now);
    put_digest(s, digest);
    store_submit(s);
}

static void end_session(struct key_store *base, const unsigned char *digest, struct key_done done)
{
    struct change *change = store_begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = store_statement(change, VERB_EXEC, "DELETE FROM sessions WHERE digest = ?");
    put_digest(s, digest);
    store_submit(s);
    sync_file(change);
}

static void close_store(struct key_store *base)
{
    struct store *store = (struct store *)base;

    if (store->db)
        sqlite_close(store->db);
    store->db = NULL;
    store->closed = true;
    free_idle(store);
}

struct key_store *key_store_sqlite(struct loop *loop, const char *dir, const struct key_sink *sink)
{
    struct store *store = mem_alloc(sizeof(*store));

    store->store = (struct key_store){
        .load = store_load,
        .add_key = add_key,
        .revoke_key = revoke_key,
        .use_key = use_key,
        .add_session = add_session,
        .use_session = use_session,
        .end_session = end_session,
        .close = close_store,
    };
    store->loop = loop;
    store->dir = mem_copy(dir);
    store->sink = *sink;
    return &store->store;
}
