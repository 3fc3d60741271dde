#include "data/sqlite_impl.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/files.h"

enum { PROGRESS_STEPS = 1000 }; /* tens of microseconds */

/* --- errors --- */

int sqlite_fail(struct sqlite_error *error, int rc, const char *code, const char *fmt, ...)
{
    va_list args;

    snprintf(error->code, sizeof(error->code), "%s", code);
    va_start(args, fmt);
    vsnprintf(error->message, sizeof(error->message), fmt, args);
    va_end(args);
    error->position = 0;
    return rc;
}

size_t sqlite_characters(const char *sql, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i < len && sql[i]; i++)
        count += ((unsigned char)sql[i] & 0xc0) != 0x80;
    return count;
}

int conn_error(struct sqlite_conn *c, int rc, const char *sql, struct sqlite_error *error)
{
    const int extended = c->handle ? sqlite3_extended_errcode(c->handle) : rc;
    const bool agrees = c->handle && (extended & 0xff) == (rc & 0xff);
    const int offset = agrees && sql ? sqlite3_error_offset(c->handle) : -1;

    if (c->denied)
        sqlite_fail(error, rc, "SQLITE_AUTH", "%s", c->denied);
    else
        sqlite_fail(error, rc, sqlite_code_name(agrees ? extended : rc), "%s",
                    agrees ? sqlite3_errmsg(c->handle) : sqlite3_errstr(rc));
    if (offset >= 0)
        error->position = sqlite_characters(sql, (size_t)offset) + 1;
    c->denied = NULL;
    return rc;
}

/* --- opening --- */

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Counting every allocation costs a lock that all threads share. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_initialize();
}

static int file_fail(struct sqlite_error *error, int number, const char *name)
{
    return sqlite_fail(error, SQLITE_CANTOPEN, "SQLITE_CANTOPEN", "%s: %s", name,
                       number == EACCES ? "not inside the data folder, or not to be opened"
                                        : strerror(number));
}

/* The folders that the name has in front, made when they are missing. */
static int make_folders(int root, const char *name)
{
    const char *slash = strrchr(name, '/');
    char *dir = slash ? mem_copy_n(name, (size_t)(slash - name)) : NULL;
    int rc = dir ? files_mkdir(root, dir) : 0;

    free(dir);
    return rc;
}

/* The root's own path may have links in it; what follows may not (SQLITE_OPEN_NOFOLLOW). */
static char *file_path(const struct sqlite *db, struct sqlite_error *error)
{
    char root[PATH_MAX];
    int fd, rc = files_root(db->root, true, &fd);

    if (rc == 0) {
        rc = make_folders(fd, db->name);
        close(fd);
    }
    if (rc == 0 && !realpath(db->root, root))
        rc = errno;
    if (rc == 0)
        return mem_printf("%s/%s", root, db->name);
    file_fail(error, rc, db->name);
    return NULL;
}

struct limit {
    int id, most;
};

static const struct limit limits[] = {
    {SQLITE_LIMIT_LENGTH, RESULT_MAX},
    {SQLITE_LIMIT_SQL_LENGTH, 1 << 20},
    {SQLITE_LIMIT_ATTACHED, 1}, /* VACUUM needs it */
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
    {SQLITE_LIMIT_EXPR_DEPTH, 500},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 100},
    {SQLITE_LIMIT_WORKER_THREADS, 0},
};

static int on_progress(void *arg)
{
    const struct sqlite_conn *c = arg;

    if (c->current && atomic_load_explicit(&c->current->cancelled, memory_order_relaxed))
        return 1;
    return c->budget_end_ns && clock_now_ns() > c->budget_end_ns;
}

static void guard(struct sqlite_conn *c)
{
    sqlite3 *h = c->handle;

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        sqlite3_limit(h, limits[i].id, limits[i].most);
    sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_busy_timeout(h, 0);
    sqlite3_set_authorizer(h, sqlite_authorize, c);
    sqlite3_progress_handler(h, PROGRESS_STEPS, on_progress, c);
}

int conn_exec(struct sqlite_conn *c, const char *sql, struct sqlite_error *error)
{
    int rc;

    c->own = true;
    rc = sqlite3_exec(c->handle, sql, NULL, NULL, NULL);
    c->own = false;
    return rc == SQLITE_OK ? rc : conn_error(c, rc, NULL, error);
}

static int limit_size(struct sqlite_conn *c, struct sqlite_error *error)
{
    sqlite3_stmt *statement;
    char sql[64];
    long long page = 4096;
    int rc;

    if (c->db->max_size == 0)
        return SQLITE_OK;
    c->own = true;
    rc = sqlite3_prepare_v2(c->handle, "PRAGMA page_size", -1, &statement, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        page = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    c->own = false;
    if (rc != SQLITE_ROW)
        return conn_error(c, rc, NULL, error);
    snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%lld", (long long)c->db->max_size / page);
    return conn_exec(c, sql, error);
}

static int prepare_use(struct sqlite_conn *c, struct sqlite_error *error)
{
    int rc;

    if (!c->writes)
        return conn_exec(c, "PRAGMA query_only=ON; PRAGMA foreign_keys=ON", error);
    rc = conn_exec(c,
                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                   "PRAGMA foreign_keys=ON; PRAGMA journal_size_limit=16777216",
                   error);
    return rc == SQLITE_OK ? limit_size(c, error) : rc;
}

int conn_open(struct sqlite_conn *c, struct sqlite_error *error)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (c->writes ? SQLITE_OPEN_CREATE : 0) |
                      (c->db->name ? SQLITE_OPEN_NOFOLLOW : 0);
    char *path = c->db->name ? file_path(c->db, error) : NULL;
    int rc;

    if (c->db->name && !path)
        return SQLITE_CANTOPEN;
    pthread_once(&once, configure);
    rc = sqlite3_open_v2(path ? path : ":memory:", &c->handle, flags, NULL);
    free(path);
    if (rc != SQLITE_OK)
        conn_error(c, rc, NULL, error);
    else {
        guard(c);
        rc = prepare_use(c, error);
    }
    if (rc != SQLITE_OK) {
        sqlite3_close(c->handle);
        c->handle = NULL;
    }
    return rc;
}

struct sqlite_conn *conn_new(struct sqlite *db, bool writes)
{
    struct sqlite_conn *c = mem_alloc(sizeof(*c));

    c->db = db;
    c->writes = writes;
    db->connections++;
    return c;
}

static void drop_statement(struct statement *s)
{
    sqlite3_finalize(s->handle);
    free(s->sql);
}

void conn_close(struct sqlite_conn *c)
{
    for (unsigned i = 0; i < c->statement_count; i++)
        drop_statement(&c->statements[i]);
    sqlite3_close(c->handle);
}

/* --- prepared statements --- */

static uint64_t hash_of(const char *sql, size_t len)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)sql[i]) * UINT64_C(1099511628211);
    return hash;
}

static struct statement *find(struct sqlite_conn *c, const char *sql, size_t len, uint64_t hash)
{
    for (unsigned i = 0; i < c->statement_count; i++) {
        struct statement *s = &c->statements[i];
        if (s->hash == hash && s->len == len && memcmp(s->sql, sql, len) == 0)
            return s;
    }
    return NULL;
}

/* A free place, or that of the one not used for longest. */
static struct statement *take_place(struct sqlite_conn *c)
{
    struct statement *oldest = &c->statements[0];

    if (c->statement_count < STATEMENTS_MAX)
        return &c->statements[c->statement_count++];
    for (unsigned i = 1; i < STATEMENTS_MAX; i++) {
        if (c->statements[i].used < oldest->used)
            oldest = &c->statements[i];
    }
    drop_statement(oldest);
    return oldest;
}

/* How many values the statement wants. */
static int count_values(struct statement *s, struct sqlite_error *error)
{
    const int count = sqlite3_bind_parameter_count(s->handle);
    bool plain = false;

    s->value_count = (unsigned)count;
    for (int i = 1; i <= count; i++) {
        const char *name = sqlite3_bind_parameter_name(s->handle, i);
        if (!name || *name == '?') {
            plain = true;
            continue;
        }
        if (*name != '$' || name[1 + strspn(name + 1, "0123456789")] || strlen(name) > 6 ||
            atoi(name + 1) < 1)
            return sqlite_fail(error, SQLITE_MISUSE, "SQLITE_MISUSE",
                               "values are bound by ? or $1, not by %.60s", name);
        s->value_count = s->numbered ? s->value_count : 0;
        s->numbered = true;
        if ((unsigned)atoi(name + 1) > s->value_count)
            s->value_count = (unsigned)atoi(name + 1);
    }
    if (plain && s->numbered)
        return sqlite_fail(error, SQLITE_MISUSE, "SQLITE_MISUSE", "? and $1 in one statement");
    return SQLITE_OK;
}

const char *sqlite_skip_blank(const char *at)
{
    for (;;) {
        at += strspn(at, " \t\r\n\f;");
        if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");
            at = end ? end + 2 : at + strlen(at);
        } else {
            return at;
        }
    }
}

static int compile(struct sqlite_conn *c,
                   const char *sql,
                   size_t len,
                   struct statement *s,
                   struct sqlite_error *error)
{
    const char *tail;
    int rc = sqlite3_prepare_v3(c->handle, sql, (int)len + 1, SQLITE_PREPARE_PERSISTENT, &s->handle,
                                &tail);

    if (rc != SQLITE_OK)
        return conn_error(c, rc, sql, error);
    if (!s->handle)
        return sqlite_fail(error, SQLITE_MISUSE, "SQLITE_MISUSE", "the statement is empty");
    if (*sqlite_skip_blank(tail)) {
        rc =
            sqlite_fail(error, SQLITE_MISUSE, "SQLITE_MISUSE", "more than one statement in a call");
        error->position = sqlite_characters(sql, (size_t)(sqlite_skip_blank(tail) - sql)) + 1;
        return rc;
    }
    return count_values(s, error);
}

int conn_prepare(struct sqlite_conn *c,
                 const char *sql,
                 size_t len,
                 struct statement **statement,
                 struct sqlite_error *error)
{
    const uint64_t hash = hash_of(sql, len);
    struct statement made = {.hash = hash, .len = len};
    int rc;

    *statement = find(c, sql, len, hash);
    if (!*statement) {
        rc = compile(c, sql, len, &made, error);
        if (rc != SQLITE_OK) {
            sqlite3_finalize(made.handle);
            return rc;
        }
        made.sql = mem_copy_n(sql, len);
        *statement = take_place(c);
        **statement = made;
    }
    (*statement)->used = ++c->clock;
    return SQLITE_OK;
}
