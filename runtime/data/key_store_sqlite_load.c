/* Reading all keys and sessions at the start: one statement after the other. */
#include "data/key_store_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/path.h"
#include "data/key_row.h"
#include "data/sqlite_value.h"

static void load_keys(struct statement *s)
{
    const struct store *store = s->change->store;
    const char *at = s->request.cells.data;
    struct buf text = {0};

    for (size_t row = 0; row < s->request.row_count; row++) {
        struct key_record key;

        at = key_row_read(at, &text, &key);
        if (key.digest)
            store->sink.key(store->sink.keyring, &key);
        else
            store_fail(s->change, "a key's digest is not one");
    }
    buf_fini(&text);
}

static void load_sessions(struct statement *s)
{
    const struct store *store = s->change->store;
    const char *at = s->request.cells.data;
    struct buf text = {0};

    for (size_t row = 0; row < s->request.row_count; row++) {
        struct key_record read;
        struct session_record session;

        at = key_row_read(at, &text, &read);
        session = key_row_session(&read);
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
        store_fail(s->change, "the file is damaged");
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
    {VERB_ROWS, "SELECT digest, key, '', '', '', '', '', '', created, 0, used, 0 FROM sessions",
     load_sessions, 0},
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
    struct statement *s = store_statement(change, steps[step].verb, steps[step].sql);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    s->ended = step_ended;
    s->step = step;
    if (steps[step].times > 0) {
        store_put_integer(s, (int64_t)now.tv_sec * 1000 - SESSION_IDLE_MS);
        store_put_integer(s, (int64_t)now.tv_sec * 1000 - SESSION_LIFE_MS);
    }
    store_submit(s);
}

/* Whatever has the name counts: a file that cannot be read must not pass for none. */
bool key_store_sqlite_exists(const char *dir)
{
    char *path = path_join(dir, KEY_FILE);
    struct stat info;
    const bool has = lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);

    free(path);
    return has;
}

void store_load(struct key_store *base, struct key_done done)
{
    struct change *change;

    if (!key_store_sqlite_exists(((struct store *)base)->dir)) {
        store_nothing(base, done);
        return;
    }
    change = store_begin(base, done);
    if (change)
        step_start(change, 0);
}
