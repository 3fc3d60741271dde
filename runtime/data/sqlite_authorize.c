/* What the statements of a plugin may not do: leave the file, load code, or upset a connection
 * that others use next.
 */
#include <string.h>
#include <strings.h>

#include "data/sqlite_impl.h"

/* Those that read something, or change the file and not the connection. */
static const char *const pragmas[] = {
    "application_id",  "collation_list",     "compile_options",  "data_version",   "database_list",
    "encoding",        "foreign_key_check",  "foreign_key_list", "foreign_keys",   "freelist_count",
    "function_list",   "incremental_vacuum", "index_info",       "index_list",     "index_xinfo",
    "integrity_check", "journal_mode",       "max_page_count",   "optimize",       "page_count",
    "page_size",       "pragma_list",        "quick_check",      "schema_version", "table_info",
    "table_list",      "table_xinfo",        "user_version",     "wal_checkpoint",
};

/* Of those, which may be set. */
static const char *const settable[] = {
    "application_id", "foreign_key_check", "foreign_key_list", "incremental_vacuum",
    "index_info",     "index_list",        "index_xinfo",      "integrity_check",
    "optimize",       "quick_check",       "table_info",       "table_list",
    "table_xinfo",    "user_version",      "wal_checkpoint",
};

static bool lists(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static const char *refuse_pragma(const char *name, const char *value)
{
    if (!lists(pragmas, sizeof(pragmas) / sizeof(pragmas[0]), name))
        return "this PRAGMA is not available";
    if (value && !lists(settable, sizeof(settable) / sizeof(settable[0]), name))
        return "this PRAGMA can be read, not set";
    return NULL;
}

/* VACUUM attaches a nameless file while it runs; a user's own ATTACH is seen when it is prepared.
 */
static const char *refuse(const struct sqlite_conn *c, int action, const char *a, const char *b)
{
    switch (action) {
    case SQLITE_ATTACH:
        return c->stepping && (!a || !*a) ? NULL : "ATTACH is not available";
    case SQLITE_DETACH:
        return c->stepping ? NULL : "DETACH is not available";
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return c->stepping ? NULL : "use db:transaction(function(tx) … end) for transactions";
    case SQLITE_FUNCTION:
        return b && strcasecmp(b, "load_extension") == 0 ? "load_extension is not available" : NULL;
    case SQLITE_PRAGMA:
        return refuse_pragma(a, b);
    default:
        return NULL;
    }
}

int sqlite_authorize(
    void *connection, int action, const char *a, const char *b, const char *db, const char *in)
{
    struct sqlite_conn *c = connection;
    const char *why = c->own ? NULL : refuse(c, action, a, b);

    (void)db;
    (void)in;
    if (!why)
        return SQLITE_OK;
    c->denied = why;
    return SQLITE_DENY;
}
