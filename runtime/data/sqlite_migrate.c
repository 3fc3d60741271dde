/* Migrations: a list of scripts, each applied once. Which were is kept in the file, with a hash, so
 * that an edited one is noticed. All that are new are applied in one transaction.
 *
 * A file that has more of them than the list, from a later version of the plugin, is left as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/sqlite_impl.h"

#define TABLE "_buntime_migrations"

/* 128 bits against mistakes, not against attackers. */
static void hash_text(const char *sql, char out[33])
{
    uint64_t a = UINT64_C(14695981039346656037), b = UINT64_C(0x9e3779b97f4a7c15);

    for (; *sql; sql++) {
        a = (a ^ (unsigned char)*sql) * UINT64_C(1099511628211);
        b = (b + (unsigned char)*sql) * UINT64_C(0xbf58476d1ce4e5b9);
        b ^= b >> 29;
    }
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
}

static int has_table(struct sqlite_conn *c, bool *has, struct sqlite_error *error)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(c->handle, "SELECT 1 FROM sqlite_schema WHERE name = '" TABLE "'",
                                -1, &s, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    *has = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        conn_error(c, rc, NULL, error);
    else
        rc = SQLITE_OK;
    sqlite3_finalize(s);
    return rc;
}

static int check_one(const struct sqlite *db, sqlite3_stmt *s, struct sqlite_error *error)
{
    const int number = sqlite3_column_int(s, 0);
    const char *hash = (const char *)sqlite3_column_text(s, 1);
    char expected[33];

    if (number < 1 || (size_t)number > db->migration_count)
        return SQLITE_OK;
    hash_text(db->migrations[number - 1], expected);
    if (hash && strcmp(hash, expected) == 0)
        return SQLITE_OK;
    error->statement = mem_copy(db->migrations[number - 1]);
    return sqlite_fail(error, SQLITE_MISMATCH, "MIGRATION_CHANGED",
                       "migration %d was edited after it had been applied; add a new one instead",
                       number);
}

/* How many of the list the file has. */
static int count_applied(struct sqlite_conn *c, size_t *count, struct sqlite_error *error)
{
    sqlite3_stmt *s;
    bool has;
    int rc = has_table(c, &has, error);

    *count = 0;
    if (rc != SQLITE_OK || !has)
        return rc;
    rc = sqlite3_prepare_v2(c->handle, "SELECT number, hash FROM " TABLE " ORDER BY number", -1, &s,
                            NULL);
    if (rc != SQLITE_OK)
        return conn_error(c, rc, NULL, error);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        rc = check_one(c->db, s, error);
        if (rc != SQLITE_OK)
            break;
        ++*count;
    }
    if (rc == SQLITE_DONE)
        rc = SQLITE_OK;
    else if (!*error->code)
        conn_error(c, rc, NULL, error);
    sqlite3_finalize(s);
    return rc;
}

/* One statement of the script, under the rules for users. */
static int
run_one(struct sqlite_conn *c, const char *at, const char **next, struct sqlite_error *error)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(c->handle, at, -1, &s, next);

    c->stepping = true;
    while (rc == SQLITE_OK && s && (rc = sqlite3_step(s)) == SQLITE_ROW)
        rc = SQLITE_OK;
    c->stepping = false;
    if (rc == SQLITE_DONE)
        rc = SQLITE_OK;
    if (rc != SQLITE_OK)
        conn_error(c, rc, at, error);
    sqlite3_finalize(s);
    return rc;
}

static int run_script(struct sqlite_conn *c, const char *sql, struct sqlite_error *error)
{
    const char *at = sql, *next = sql;
    int rc = SQLITE_OK;

    while (rc == SQLITE_OK && *at) {
        rc = run_one(c, at, &next, error);
        if (rc != SQLITE_OK && error->position > 0)
            error->position += sqlite_characters(sql, (size_t)(at - sql));
        at = next;
    }
    return rc;
}

static int remember(struct sqlite_conn *c, size_t number, struct sqlite_error *error)
{
    char hash[33], sql[256];

    hash_text(c->db->migrations[number - 1], hash);
    snprintf(sql, sizeof(sql),
             "INSERT INTO " TABLE "(number, hash, applied_at) VALUES (%zu, '%s', datetime('now'))",
             number, hash);
    return conn_exec(c, sql, error);
}

/* Puts the number in front of the message. */
static void name_migration(struct sqlite_error *error, size_t number)
{
    char prefix[48];
    const size_t room = sizeof(error->message) - 1;
    size_t len, rest;

    snprintf(prefix, sizeof(prefix), "migration %zu: ", number);
    len = strlen(prefix);
    rest = strlen(error->message);
    rest = rest > room - len ? room - len : rest;
    memmove(error->message + len, error->message, rest);
    memcpy(error->message, prefix, len);
    error->message[len + rest] = '\0';
}

static int apply(struct sqlite_conn *c, size_t number, struct sqlite_error *error)
{
    const char *sql = c->db->migrations[number - 1];
    const int rc = run_script(c, sql, error);

    if (rc == SQLITE_OK)
        return remember(c, number, error);
    name_migration(error, number);
    error->statement = mem_copy(sql);
    return rc;
}

/* Rebuilding a table must not fire its foreign keys; whether they hold is asked at the end. */
static int check_references(struct sqlite_conn *c, struct sqlite_error *error)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(c->handle, "PRAGMA foreign_key_check", -1, &s, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        rc = sqlite_fail(error, SQLITE_CONSTRAINT, "SQLITE_CONSTRAINT_FOREIGNKEY",
                         "the migrations leave a row in \"%s\" that refers to nothing",
                         (const char *)sqlite3_column_text(s, 0));
    else if (rc != SQLITE_DONE)
        conn_error(c, rc, NULL, error);
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int apply_all(struct sqlite_conn *c, struct sqlite_error *error)
{
    size_t applied;
    int rc = conn_exec(c,
                       "CREATE TABLE IF NOT EXISTS " TABLE
                       "(number INTEGER PRIMARY KEY, hash TEXT NOT NULL,"
                       " applied_at TEXT NOT NULL)",
                       error);

    if (rc == SQLITE_OK)
        rc = count_applied(c, &applied, error); /* again: now nobody else can change it */
    while (rc == SQLITE_OK && applied < c->db->migration_count)
        rc = apply(c, ++applied, error);
    return rc == SQLITE_OK ? check_references(c, error) : rc;
}

int sqlite_migrate(struct sqlite_conn *c, struct sqlite_error *error)
{
    struct sqlite_error ignored = {.statement = NULL};
    size_t applied;
    int rc = count_applied(c, &applied, error);

    if (rc != SQLITE_OK || applied >= c->db->migration_count)
        return rc;
    rc = conn_exec(c, "PRAGMA foreign_keys=OFF; BEGIN IMMEDIATE", error);
    if (rc == SQLITE_OK) {
        rc = apply_all(c, error);
        if (rc == SQLITE_OK)
            rc = conn_exec(c, "COMMIT", error);
        if (rc != SQLITE_OK)
            conn_exec(c, "ROLLBACK", &ignored);
    }
    conn_exec(c, "PRAGMA foreign_keys=ON", &ignored);
    return rc;
}
