/* buntime.core.sqlite: databases and transactions as Lua values.
 *
 * Misuse gives nil and a message, so that the library can blame the plugin's line.
 */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "base/path.h"
#include "bind/bind.h"
#include "bind/misuse.h"
#include "bind/roots.h"
#include "bind/sqlite_call.h"
#include "data/sqlite.h"
#include "vm/task.h"
#include "vm/vm.h"

#define DB "buntime.sqlite"
#define TX "buntime.sqlite.transaction"

enum { MIGRATIONS_MAX = 10000 };

/* --- databases and transactions --- */

static void close_resource(struct resource *resource)
{
    sqlite_lua_close((struct sqlite_lua *)resource);
}

static int collect_db(lua_State *L)
{
    sqlite_lua_close(lua_touserdata(L, 1));
    return 0;
}

static int collect_tx(lua_State *L)
{
    struct sqlite_lua_tx *tx = lua_touserdata(L, 1);

    if (tx->id && tx->owner->db)
        sqlite_rollback(tx->owner->db, tx->id);
    return 0;
}

/* What a verb works on: a database, or one with its transaction. */
struct place {
    struct sqlite_lua *db;
    struct sqlite_lua_tx *tx;
};

static bool check_tx(lua_State *L, struct place *place)
{
    place->tx = userdata_of(L, 1, TX);
    if (!place->tx)
        return misuse(L, "a transaction expected, as db:transaction(function(tx) … end) gives it");
    place->db = place->tx->owner;
    if (!place->db->db)
        return misuse(L, "the database is closed");
    if (!sqlite_in_transaction(place->db->db, place->tx->id))
        return misuse(L, "the transaction has ended");
    return task_current(L) != NULL || misuse(L, "cannot wait here: no task is running");
}

static bool check_db(lua_State *L, struct place *place)
{
    struct sqlite_lua *db = place->db = userdata_of(L, 1, DB);

    place->tx = NULL;
    if (!db)
        return misuse(L, "a database expected; call it with a colon, as db:query(…)");
    if (!db->db)
        return misuse(L, "the database is closed");
    if (!task_current(L))
        return misuse(L, "cannot wait here: no task is running");
    if (db->held && db->holder == task_current(L) && sqlite_in_transaction(db->db, db->held))
        return misuse(L, "inside db:transaction(function(tx) … end) use tx, not db");
    return true;
}

static bool check_place(lua_State *L, struct place *place)
{
    return userdata_of(L, 1, TX) ? check_tx(L, place) : check_db(L, place);
}

/* --- calls --- */

/* verb(db | tx, sql, values...): waits */
static int run(lua_State *L, enum sqlite_verb verb)
{
    struct place place;
    struct sqlite_call *call;
    const char *sql;
    size_t len;

    if (!check_place(L, &place))
        return 2;
    if (lua_type(L, 2) != LUA_TSTRING) {
        misuse(L, "the statement must be a string, got %s", luaL_typename(L, 2));
        return 2;
    }
    if (!sql_check_values(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    sql = lua_tolstring(L, 2, &len);
    if (memchr(sql, '\0', len)) {
        misuse(L, "the statement has a NUL in it");
        return 2;
    }
    call = sqlite_call_new(L, place.db, verb);
    call->request.sql = mem_copy_n(sql, len);
    call->request.sql_len = len;
    call->request.transaction = place.tx ? place.tx->id : 0;
    call->request.value_count = (unsigned)lua_gettop(L) - 2;
    sql_add_values(L, 3, &call->request.values);
    sqlite_submit(place.db->db, &call->request);
    return sqlite_call_wait(L, call);
}

static int query(lua_State *L)
{
    return run(L, VERB_ROWS);
}

static int first(lua_State *L)
{
    return run(L, VERB_FIRST);
}

static int exec(lua_State *L)
{
    return run(L, VERB_EXEC);
}

/* begin(db) -> transaction: waits for the writer */
static int begin(lua_State *L)
{
    struct place place;
    struct sqlite_lua_tx *tx;
    struct sqlite_call *call;
    int anchor;

    if (!check_db(L, &place))
        return 2;
    lua_settop(L, 1);
    tx = lua_newuserdata(L, sizeof(*tx)); /* db tx */
    *tx = (struct sqlite_lua_tx){.owner = place.db};
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, 2);
    luaL_getmetatable(L, TX);
    lua_setmetatable(L, 2);
    anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    call = sqlite_call_new(L, place.db, VERB_BEGIN);
    call->call.anchor = anchor;
    sqlite_submit(place.db->db, &call->request);
    return sqlite_call_wait(L, call);
}

/* control(tx, "commit" | "save" | "release", level): waits */
static int control(lua_State *L)
{
    static const char *const names[] = {"commit", "save", "release", NULL};
    static const enum sqlite_verb verbs[] = {VERB_COMMIT, VERB_SAVE, VERB_RELEASE};
    const int verb = luaL_checkoption(L, 2, NULL, names);
    const unsigned level = (unsigned)luaL_optinteger(L, 3, 0);
    struct place place;
    struct sqlite_call *call;

    if (!check_tx(L, &place))
        return 2;
    call = sqlite_call_new(L, place.db, verbs[verb]);
    call->request.transaction = place.tx->id;
    call->request.level = level;
    sqlite_submit(place.db->db, &call->request);
    return sqlite_call_wait(L, call);
}

/* undo(tx, level): back to the savepoint; does not wait, so that a cancelled task can do it */
static int undo_to(lua_State *L)
{
    struct sqlite_lua_tx *tx = luaL_checkudata(L, 1, TX);
    const unsigned level = (unsigned)luaL_checkinteger(L, 2);
    struct sqlite_call *call;

    if (!tx->owner->db || !sqlite_in_transaction(tx->owner->db, tx->id))
        return 0;
    call = sqlite_call_new(L, tx->owner, VERB_UNDO);
    sqlite_call_abandon(call);
    call->request.transaction = tx->id;
    call->request.level = level;
    sqlite_submit(tx->owner->db, &call->request);
    return 0;
}

/* rollback(tx): does not wait either; nothing if the transaction has ended */
static int rollback(lua_State *L)
{
    struct sqlite_lua_tx *tx = luaL_checkudata(L, 1, TX);

    if (tx->owner->held == tx->id)
        tx->owner->held = 0;
    if (tx->owner->db)
        sqlite_rollback(tx->owner->db, tx->id);
    return 0;
}

/* trace(message, traceback): where an error was raised that is raised again after a rollback */
static int keep_trace(lua_State *L)
{
    vm_note_trace(vm_of(L), luaL_checkstring(L, 1), luaL_checkstring(L, 2));
    return 0;
}

/* close(db) */
static int close_now(lua_State *L)
{
    struct sqlite_lua *db = userdata_of(L, 1, DB);

    if (!db) {
        misuse(L, "a database expected; call it with a colon, as db:close()");
        return 2;
    }
    sqlite_lua_close(db);
    lua_pushboolean(L, true);
    return 1;
}

/* --- opening --- */

static bool check_name(lua_State *L)
{
    const char *name = lua_tostring(L, 1);
    const size_t len = name ? lua_objlen(L, 1) : 0;

    if (lua_isnil(L, 1))
        return true;
    if (len == 0 || strlen(name) != len || name[len - 1] == '/' || len > 500)
        return misuse(L, "the name must be that of a file in the data folder, or \":memory:\"");
    return path_stays_below(name) ||
           misuse(L,
                  "the file must be in the plugin's data folder: a relative name without \"..\"");
}

/* The strings of the table at `index`, in memory that the collector frees. */
static char **take_migrations(lua_State *L, int index, size_t *count)
{
    char **list;

    *count = lua_objlen(L, index);
    if (*count > MIGRATIONS_MAX)
        luaL_error(L, "more than %d migrations", MIGRATIONS_MAX);
    list = lua_newuserdata(L, (*count + 1) * sizeof(*list));
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        list[i] = (char *)(uintptr_t)luaL_checkstring(L, -1);
        lua_pop(L, 1); /* the table keeps it */
    }
    return list;
}

/* db and its anchor; nothing after this raises */
static struct sqlite_lua *push_db(lua_State *L, int *anchor)
{
    struct sqlite_lua *db = lua_newuserdata(L, sizeof(*db));

    *db = (struct sqlite_lua){.resource = {.kind = "sqlite", .close = close_resource}};
    luaL_getmetatable(L, DB);
    lua_setmetatable(L, -2);
    *anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return db;
}

/* open(name | nil, busy seconds, readers, most bytes, migrations) -> db: waits */
static int open_db(lua_State *L)
{
    struct sqlite_options options = {
        .busy_timeout_ms = (uint64_t)(luaL_checknumber(L, 2) * 1000),
        .readers = (unsigned)luaL_checkinteger(L, 3),
        .max_size = (uint64_t)luaL_checknumber(L, 4),
    };
    struct sqlite_lua *db;
    struct sqlite_call *call;
    int anchor;

    luaL_checktype(L, 5, LUA_TTABLE);
    if (!check_name(L))
        return 2;
    if (!task_current(L) || !vm_loop(vm_of(L))) {
        misuse(L, "cannot wait here: no task is running");
        return 2;
    }
    options.name = lua_tostring(L, 1);
    options.migrations = take_migrations(L, 5, &options.migration_count);
    options.root = roots_push_data(L);
    db = push_db(L, &anchor);
    snprintf(db->resource.label, sizeof(db->resource.label), "%s",
             options.name ? options.name : ":memory:");
    call = sqlite_call_new(L, db, VERB_OPEN);
    call->call.anchor = anchor;
    db->db = sqlite_open(vm_loop(vm_of(L)), &options, &call->request);
    ledger_add(vm_of(L), &db->resource);
    return sqlite_call_wait(L, call);
}

static const luaL_Reg functions[] = {
    {"open", open_db},    {"query", query},      {"first", first},  {"exec", exec},
    {"begin", begin},     {"control", control},  {"undo", undo_to}, {"rollback", rollback},
    {"close", close_now}, {"trace", keep_trace}, {NULL, NULL},
};

int bind_sqlite_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions); /* module */
    sql_open(L);
    add_class(L, DB, "database", collect_db);
    add_class(L, TX, "transaction", collect_tx);
    return 1;
}
