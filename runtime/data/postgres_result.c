/* What the server answers, into the request. */
#include "data/postgres_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/postgres_sql.h"

/* --- errors --- */

static char *field(const PGresult *result, int code)
{
    return mem_copy(pq.resultErrorField(result, code));
}

/* libpq's own failures have no fields, only a text with a line end. */
static void take_message(struct postgres_error *error, const PGresult *result)
{
    const char *state = pq.resultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = pq.resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (!message)
        message = pq.resultErrorMessage(result);
    snprintf(error->code, sizeof(error->code), "%s", state ? state : "CONNECTION_LOST");
    snprintf(error->message, sizeof(error->message), "%.*s", (int)strcspn(message, "\n"), message);
}

void pg_take_error(struct postgres_request *r, const PGresult *result)
{
    const char *position = pq.resultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    struct postgres_error *error = &r->error;

    r->failed = true;
    take_message(error, result);
    if (position && r->sql)
        error->position =
            postgres_position((struct str){r->sql, r->sql_len}, strtoul(position, NULL, 10));
    error->detail = field(result, PG_DIAG_MESSAGE_DETAIL);
    error->hint = field(result, PG_DIAG_MESSAGE_HINT);
    error->constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
}

/* --- rows --- */

static void read_names(struct postgres_request *r, const PGresult *result)
{
    const int count = pq.nfields(result);

    r->column_count = (unsigned)count;
    for (int i = 0; i < count; i++) {
        const char *name = pq.fname(result, i);
        buf_add(&r->names, name, strlen(name) + 1);
    }
}

static bool is_wanted(const struct postgres_request *r)
{
    return r->verb == POSTGRES_ROWS || (r->verb == POSTGRES_FIRST && r->row_count == 0);
}

static void too_large(struct pg_conn *c, struct postgres_request *r)
{
    c->too_large = true;
    r->row_count = 0;
    buf_fini(&r->cells);
    r->cells = (struct buf){0};
    pg_fail(r, "RESULT_TOO_LARGE", "the rows are more than %d MB; use LIMIT", PG_RESULT_MAX >> 20);
    pg_cancel(c);
}

static void take_row(struct pg_conn *c, struct postgres_request *r, const PGresult *result)
{
    if (c->too_large || r->cancelled || r->failed || !is_wanted(r))
        return;
    if (r->row_count++ == 0)
        read_names(r, result);
    for (unsigned i = 0; i < r->column_count; i++)
        pg_value_read(c->pool, result, 0, (int)i, &r->cells);
    if (r->cells.len > PG_RESULT_MAX)
        too_large(c, r);
}

static void refuse_copy(struct pg_conn *c)
{
    if (c->request && !c->request->failed)
        pg_fail(c->request, "NOT_SUPPORTED", "COPY from and to the client is not supported");
    /* There is no way back from it but through the data. */
    pg_conn_lose(c, "CONNECTION_LOST", "COPY from and to the client is not supported");
}

static void take_end(struct postgres_request *r, PGresult *result)
{
    const char *tag = pq.cmdStatus(result);

    if (strncmp(tag, "INSERT", 6) == 0 || strncmp(tag, "UPDATE", 6) == 0 ||
        strncmp(tag, "DELETE", 6) == 0 || strncmp(tag, "MERGE", 5) == 0)
        r->changes = strtoll(pq.cmdTuples(result), NULL, 10);
    /* COMMIT of a transaction in which something failed: not an error, but no success either. */
    if (r->verb == POSTGRES_COMMIT && strcmp(tag, "ROLLBACK") == 0)
        pg_fail(r, "25P02", "the transaction was rolled back: a statement in it had failed");
}

static void take_failure(struct pg_conn *c, const PGresult *result)
{
    struct postgres_error error = {.code = ""};

    c->failed = true;
    if (c->request && !c->request->failed)
        pg_take_error(c->request, result);
    if (!c->request) {
        take_message(&error, result);
        snprintf(c->problem, sizeof(c->problem), "%s", error.message);
    }
}

void pg_take_result(struct pg_conn *c, PGresult *result)
{
    struct postgres_request *r = c->request;

    switch (pq.resultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        if (r)
            take_row(c, r, result);
        return;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        if (r)
            take_end(r, result);
        return;
    case PGRES_EMPTY_QUERY:
        return;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        refuse_copy(c);
        return;
    default:
        take_failure(c, result);
    }
}
