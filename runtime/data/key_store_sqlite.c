/* Keys and sessions in a SQLite file. A key that was revoked leaves its row: that there ever was a
 * key is what closes the control plane (SPEC 8).
 */
#include "data/key_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "data/digest_map.h"
#include "data/files.h"
#include "data/sqlite.h"
#include "data/sqlite_value.h"
#include "ev/loop.h"

#define FILE_NAME "keys.db"

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

static void change_fail(struct change *change, const char *what)
{
    if (!change->failed)
        err_set(&change->err, "KEY_STORE_FAILED", "%s/" FILE_NAME ": %s", change->store->dir, what);
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
        change_fail(change, request->error.message);
    change->open--;
    if (statement->ended)
        statement->ended(statement);
    sqlite_request_fini(request);
    free(statement);
    if (change->open == 0)
        change_end(change);
}

static struct statement *
statement_new(struct change *change, enum sqlite_verb verb, const char *sql)
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

static void put_integer(struct statement *s, int64_t value)
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

static void submit(struct statement *s)
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
    fd = openat(root, FILE_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
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
        .name = FILE_NAME,
        .migrations = migrations,
        .migration_count = 1,
        .busy_timeout_ms = BUSY_MS,
        .readers = 1,
    };
    struct statement *statement;
    const int rc = store->db ? 0 : make_file(store->dir);

    if (rc != 0)
        change_fail(change, strerror(rc));
    if (store->db || rc != 0)
        return rc == 0;
    statement = statement_new(change, VERB_OPEN, NULL);
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

/* A change with the database open; NULL when that failed, which `done` is told. */
static struct change *begin(struct key_store *base, struct key_done done)
{
    struct store *store = (struct store *)base;
    struct change *change = change_new(store, done);

    if (open_file(store, change))
        return change;
    end_later(change);
    return NULL;
}

/* --- loading --- */

static const char *get_text(const char *at, struct buf *out, size_t *offset)
{
    struct sql_value value;

    at = sql_get(at, &value);
    *offset = out->len;
    if (value.type == SQL_TEXT)
        buf_add(out, value.bytes.at, value.bytes.len);
    buf_add(out, "", 1);
    return at;
}

static const char *get_integer(const char *at, int64_t *out)
{
    struct sql_value value;

    at = sql_get(at, &value);
    *out = value.type == SQL_INTEGER ? value.integer : 0;
    return at;
}

static const char *get_digest(const char *at, const unsigned char **out)
{
    struct sql_value value;

    at = sql_get(at, &value);
    *out = value.type == SQL_BLOB && value.bytes.len == DIGEST_BYTES
               ? (const unsigned char *)value.bytes.at
               : NULL;
    return at;
}

static void load_keys(struct statement *s)
{
    const struct store *store = s->change->store;
    const char *at = s->request.cells.data;
    struct buf text = {0};

    for (size_t row = 0; row < s->request.row_count; row++) {
        struct key_record key;
        size_t offset[7];
        int64_t revoked;

        text.len = 0;
        at = get_digest(at, &key.digest);
        for (size_t i = 0; i < 7; i++)
            at = get_text(at, &text, &offset[i]);
        at = get_integer(at, &key.created);
        at = get_integer(at, &key.expires);
        at = get_integer(at, &key.used);
        at = get_integer(at, &revoked);
        key.id = text.data + offset[0];
        key.name = text.data + offset[1];
        key.prefix = text.data + offset[2];
        key.role = text.data + offset[3];
        key.permissions = text.data + offset[4];
        key.namespaces = text.data + offset[5];
        key.creator = text.data + offset[6];
        key.revoked = revoked != 0;
        if (key.digest)
            store->sink.key(store->sink.keyring, &key);
        else
            change_fail(s->change, "a key's digest is not one");
    }
    buf_fini(&text);
}

static void load_sessions(struct statement *s)
{
    const struct store *store = s->change->store;
    const char *at = s->request.cells.data;
    struct buf text = {0};

    for (size_t row = 0; row < s->request.row_count; row++) {
        struct session_record session;
        size_t offset;

        text.len = 0;
        at = get_digest(at, &session.digest);
        at = get_text(at, &text, &offset);
        at = get_integer(at, &session.created);
        at = get_integer(at, &session.used);
        session.key = text.data + offset;
        if (session.digest)
            store->sink.session(store->sink.keyring, &session);
    }
    buf_fini(&text);
}

static void check_sound(struct statement *s)
{
    struct sql_value value = {.type = SQL_NULL};

    if (s->request.row_count > 0)
        sql_get(s->request.cells.data, &value);
    if (value.type != SQL_TEXT || !str_equal(value.bytes, STR("ok")))
        change_fail(s->change, "the file is damaged");
}

static const struct {
    enum sqlite_verb verb;
    const char *sql;
    void (*take)(struct statement *statement);
    unsigned times; /* values: now minus a session's idle time, minus its life */
} steps[] = {
    {VERB_ROWS, "PRAGMA quick_check", check_sound, 0},
    /* Writes even if there is nothing to drop: a file that cannot be written is found out here. */
    {VERB_EXEC, "DELETE FROM sessions WHERE used < ? OR created < ?", NULL, 2},
    {VERB_ROWS,
     "SELECT digest, id, name, prefix, role, permissions, namespaces, creator, created, expires,"
     " used, revoked FROM keys ORDER BY created, id",
     load_keys, 0},
    {VERB_ROWS, "SELECT digest, key, created, used FROM sessions", load_sessions, 0},
};

static void step_start(struct change *change, unsigned step);

static void step_ended(struct statement *statement)
{
    struct change *change = statement->change;

    if (!change->failed && steps[statement->step].take)
        steps[statement->step].take(statement);
    if (!change->failed && statement->step + 1 < sizeof(steps) / sizeof(steps[0]))
        step_start(change, statement->step + 1);
}

static void step_start(struct change *change, unsigned step)
{
    struct statement *s = statement_new(change, steps[step].verb, steps[step].sql);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    s->ended = step_ended;
    s->step = step;
    if (steps[step].times > 0) {
        put_integer(s, (int64_t)now.tv_sec * 1000 - SESSION_IDLE_MS);
        put_integer(s, (int64_t)now.tv_sec * 1000 - SESSION_LIFE_MS);
    }
    submit(s);
}

/* Whatever has the name counts: a file that cannot be read must not pass for none. */
static bool has_file(const struct store *store)
{
    char *path = path_join(store->dir, FILE_NAME);
    struct stat info;
    const bool has = lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);

    free(path);
    return has;
}

static void load(struct key_store *base, struct key_done done)
{
    struct change *change;

    if (!has_file((struct store *)base)) {
        end_later(change_new((struct store *)base, done));
        return;
    }
    change = begin(base, done);
    if (change)
        step_start(change, 0);
}

/* --- changes --- */

/* What decides who may call must have reached the disk before it is answered. */
static void sync_file(struct change *change)
{
    submit(statement_new(change, VERB_EXEC, "PRAGMA wal_checkpoint(FULL)"));
}

static void add_key(struct key_store *base, const struct key_record *key, struct key_done done)
{
    struct change *change = begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = statement_new(change, VERB_EXEC,
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
    put_integer(s, key->created);
    put_integer(s, key->expires);
    submit(s);
    sync_file(change);
}

static void revoke_key(struct key_store *base, const char *id, int64_t now, struct key_done done)
{
    struct change *change = begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = statement_new(change, VERB_EXEC, "UPDATE keys SET revoked = ? WHERE id = ?");
    put_integer(s, now);
    put_text(s, id);
    submit(s);
    s = statement_new(change, VERB_EXEC, "DELETE FROM sessions WHERE key = ?");
    put_text(s, id);
    submit(s);
    sync_file(change);
}

static void use_key(struct key_store *base, const char *id, int64_t now, struct key_done done)
{
    struct change *change = begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = statement_new(change, VERB_EXEC, "UPDATE keys SET used = ? WHERE id = ?");
    put_integer(s, now);
    put_text(s, id);
    submit(s);
}

static void
add_session(struct key_store *base, const struct session_record *session, struct key_done done)
{
    struct change *change = begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = statement_new(change, VERB_EXEC,
                      "INSERT INTO sessions (digest, key, created, used) VALUES (?, ?, ?, ?)");
    put_digest(s, session->digest);
    put_text(s, session->key);
    put_integer(s, session->created);
    put_integer(s, session->used);
    submit(s);
}

static void
use_session(struct key_store *base, const unsigned char *digest, int64_t now, struct key_done done)
{
    struct change *change = begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = statement_new(change, VERB_EXEC, "UPDATE sessions SET used = ? WHERE digest = ?");
    put_integer(s, now);
    put_digest(s, digest);
    submit(s);
}

static void end_session(struct key_store *base, const unsigned char *digest, struct key_done done)
{
    struct change *change = begin(base, done);
    struct statement *s;

    if (!change)
        return;
    s = statement_new(change, VERB_EXEC, "DELETE FROM sessions WHERE digest = ?");
    put_digest(s, digest);
    submit(s);
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
        .load = load,
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
