/* One request on one connection, on a thread of the pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/sqlite_impl.h"
#include "data/sqlite_value.h"

/* --- values --- */

static int bind_value(sqlite3_stmt *s, int i, const struct sql_value *value)
{
    switch (value->type) {
    case SQL_INTEGER:
    case SQL_BOOLEAN:
        return sqlite3_bind_int64(s, i, value->integer);
    case SQL_REAL:
        return sqlite3_bind_double(s, i, value->real);
    case SQL_TEXT:
        return sqlite3_bind_text64(s, i, value->bytes.at, value->bytes.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case SQL_BLOB:
        return sqlite3_bind_blob64(s, i, value->bytes.at, value->bytes.len, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(s, i);
    }
}

/* $2 takes the second value wherever it stands; several places may take the same. */
static int bind_numbered(const struct statement *s, unsigned number, const struct sql_value *value)
{
    const int count = sqlite3_bind_parameter_count(s->handle);
    int rc = SQLITE_OK;

    for (int i = 1; rc == SQLITE_OK && i <= count; i++) {
        if ((unsigned)atoi(sqlite3_bind_parameter_name(s->handle, i) + 1) == number)
            rc = bind_value(s->handle, i, value);
    }
    return rc;
}

static int bind_all(struct sqlite_conn *c, const struct statement *s, struct sqlite_request *r)
{
    const char *at = r->values.data;

    if (s->value_count != r->value_count)
        return sqlite_fail(&r->error, SQLITE_RANGE, "SQLITE_RANGE",
                           "the statement wants %u value%s, got %u", s->value_count,
                           s->value_count == 1 ? "" : "s", r->value_count);
    for (unsigned i = 1; i <= r->value_count; i++) {
        struct sql_value value;
        int rc;

        at = sql_get(at, &value);
        rc = s->numbered ? bind_numbered(s, i, &value) : bind_value(s->handle, (int)i, &value);
        if (rc != SQLITE_OK)
            return conn_error(c, rc, NULL, &r->error);
    }
    return SQLITE_OK;
}

/* --- rows --- */

static void read_column(sqlite3_stmt *s, int i, struct sql_value *value)
{
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
        value->type = SQL_INTEGER;
        value->integer = sqlite3_column_int64(s, i);
        return;
    case SQLITE_FLOAT:
        value->type = SQL_REAL;
        value->real = sqlite3_column_double(s, i);
        return;
    case SQLITE_NULL:
        value->type = SQL_NULL;
        return;
    case SQLITE_TEXT:
        value->type = SQL_TEXT;
        value->bytes.at = (const char *)sqlite3_column_text(s, i);
        break;
    default:
        value->type = SQL_BLOB;
        value->bytes.at = sqlite3_column_blob(s, i);
    }
    value->bytes.len = (size_t)sqlite3_column_bytes(s, i);
}

static void read_names(sqlite3_stmt *s, struct sqlite_request *r)
{
    r->column_count = (unsigned)sqlite3_column_count(s);
    for (unsigned i = 0; i < r->column_count; i++) {
        const char *name = sqlite3_column_name(s, (int)i);
        buf_add(&r->names, name ? name : "?", strlen(name ? name : "?") + 1);
    }
}

static void read_row(sqlite3_stmt *s, struct sqlite_request *r)
{
    if (r->row_count++ == 0)
        read_names(s, r);
    for (unsigned i = 0; i < r->column_count; i++) {
        struct sql_value value;

        read_column(s, (int)i, &value);
        sql_put(&r->cells, &value);
    }
}

static int step_all(struct sqlite_conn *c, sqlite3_stmt *s, struct sqlite_request *r)
{
    int rc;

    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (r->verb == VERB_EXEC || (r->verb == VERB_FIRST && r->row_count > 0))
            continue;
        read_row(s, r);
        if (r->cells.len > RESULT_MAX)
            return sqlite_fail(&r->error, SQLITE_TOOBIG, "RESULT_TOO_LARGE",
                               "the rows are more than %d MB; use LIMIT", RESULT_MAX >> 20);
        if (r->verb == VERB_FIRST && sqlite3_stmt_readonly(s))
            return SQLITE_OK; /* one that writes goes on to its end, where it is committed */
    }
    return rc == SQLITE_DONE ? SQLITE_OK : conn_error(c, rc, r->sql, &r->error);
}

/* --- statements --- */

static int run_steps(struct sqlite_conn *c, struct statement *s, struct sqlite_request *r)
{
    const int before = sqlite3_total_changes(c->handle);
    int rc;

    sqlite3_set_last_insert_rowid(c->handle, 0);
    c->stepping = true;
    rc = step_all(c, s->handle, r);
    c->stepping = false;
    r->changes = sqlite3_total_changes(c->handle) != before ? sqlite3_changes64(c->handle) : 0;
    r->last_id = sqlite3_last_insert_rowid(c->handle);
    sqlite3_reset(s->handle);
    sqlite3_clear_bindings(s->handle);
    return rc;
}

static bool has_budget_left(const struct sqlite_conn *c)
{
    return !c->budget_end_ns || clock_now_ns() <= c->budget_end_ns;
}

static void run_statement(struct sqlite_conn *c, struct sqlite_request *r, bool shared)
{
    struct statement *s;
    int rc = conn_prepare(c, r->sql, r->sql_len, &s, &r->error);

    if (rc == SQLITE_OK && !c->writes && !sqlite3_stmt_readonly(s->handle)) {
        r->outcome = OUTCOME_WRITES;
        return;
    }
    if (rc == SQLITE_OK && shared && s->slow) {
        r->outcome = OUTCOME_SLOW;
        return;
    }
    /* SQLite may look at the time once more after a commit, and calls interrupted what is done by
     * then: only what changes nothing can be begun anew.
     */
    if (rc == SQLITE_OK && !sqlite3_stmt_readonly(s->handle))
        c->budget_end_ns = 0;
    if (rc == SQLITE_OK)
        rc = bind_all(c, s, r);
    if (rc == SQLITE_OK) {
        const uint64_t start = clock_now_ns();
        rc = run_steps(c, s, r);
        s->slow = clock_now_ns() - start > BUDGET_US * 1000;
    }
    r->ok = rc == SQLITE_OK;
    if ((rc & 0xff) == SQLITE_BUSY)
        r->outcome = OUTCOME_BUSY;
    else if ((rc & 0xff) == SQLITE_INTERRUPT && !has_budget_left(c) && !r->cancelled)
        r->outcome = OUTCOME_SLOW;
}

/* --- transactions --- */

/* An error such as a full disk ends a transaction by itself; what follows must not be done outside
 * of it.
 */
static bool has_ended(const struct sqlite_conn *c, struct sqlite_request *r)
{
    if (r->verb == VERB_BEGIN || !r->transaction || !sqlite3_get_autocommit(c->handle))
        return false;
    r->ok = r->verb == VERB_ROLLBACK;
    if (!r->ok)
        sqlite_fail(&r->error, SQLITE_ABORT, "SQLITE_ABORT",
                    "the transaction was rolled back by an earlier error");
    return true;
}

static void run_control(struct sqlite_conn *c, struct sqlite_request *r)
{
    char sql[96];
    int rc;

    switch (r->verb) {
    case VERB_BEGIN:
        snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE");
        break;
    case VERB_COMMIT:
        snprintf(sql, sizeof(sql), "COMMIT");
        break;
    case VERB_SAVE:
        snprintf(sql, sizeof(sql), "SAVEPOINT buntime_%u", r->level);
        break;
    case VERB_RELEASE:
        snprintf(sql, sizeof(sql), "RELEASE buntime_%u", r->level);
        break;
    case VERB_UNDO:
        snprintf(sql, sizeof(sql), "ROLLBACK TO buntime_%u; RELEASE buntime_%u", r->level,
                 r->level);
        break;
    default:
        snprintf(sql, sizeof(sql), "ROLLBACK");
    }
    rc = conn_exec(c, sql, &r->error);
    r->ok = rc == SQLITE_OK;
    if ((rc & 0xff) == SQLITE_BUSY)
        r->outcome = OUTCOME_BUSY;
}

static void open_file(struct sqlite_conn *c, struct sqlite_request *r)
{
    const int rc = sqlite_migrate(c, &r->error);

    r->ok = rc == SQLITE_OK;
    if ((rc & 0xff) == SQLITE_BUSY)
        r->outcome = OUTCOME_BUSY;
}

static void forget_outcome(struct sqlite_request *r)
{
    r->outcome = OUTCOME_DONE;
    r->ok = false;
    r->row_count = 0;
    buf_reset(&r->names);
    buf_reset(&r->cells);
    free(r->error.statement);
    r->error = (struct sqlite_error){.statement = NULL};
}

static bool is_open(struct sqlite_conn *c, struct sqlite_request *r)
{
    int rc = c->handle ? SQLITE_OK : conn_open(c, &r->error);

    if ((rc & 0xff) == SQLITE_BUSY)
        r->outcome = OUTCOME_BUSY;
    return rc == SQLITE_OK;
}

void conn_run(struct sqlite_conn *c, struct sqlite_request *r, bool shared)
{
    const bool ends = r->verb == VERB_COMMIT || r->verb == VERB_ROLLBACK;

    forget_outcome(r);
    if (!is_open(c, r) || has_ended(c, r))
        return;
    c->denied = NULL;
    c->current = ends ? NULL : r;
    c->budget_end_ns = shared ? clock_now_ns() + BUDGET_US * 1000 : 0;
    if (r->verb == VERB_OPEN)
        open_file(c, r);
    else if (r->verb > VERB_EXEC)
        run_control(c, r);
    else
        run_statement(c, r, shared);
    c->current = NULL;
    c->budget_end_ns = 0;
}
