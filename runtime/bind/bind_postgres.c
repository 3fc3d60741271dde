/* buntime.core.postgres: pools of connections, transactions and listeners as Lua values.
 */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/json.h"
#include "bind/misuse.h"
#include "bind/postgres.h"
#include "bind/postgres_call.h"
#include "ev/loop.h"
#include "vm/task.h"

/* --- pools and transactions --- */

static void close_db(struct lua_postgres *db)
{
    struct postgres *pool = db->pool;

    if (!pool)
        return;
    db->pool = NULL;
    ledger_remove(&db->resource);
    subscriptions_close(&db->subscriptions);
    postgres_close(pool);
}

static void close_resource(struct resource *resource)
{
    close_db((struct lua_postgres *)resource);
}

static int collect_db(lua_State *L)
{
    close_db(lua_touserdata(L, 1));
    return 0;
}

static int collect_tx(lua_State *L)
{
    struct postgres_tx *tx = lua_touserdata(L, 1);

    if (tx->id && !tx->ended && tx->owner->pool)
        postgres_rollback(tx->owner->pool, tx->id);
    return 0;
}

bool postgres_check_db(lua_State *L, struct lua_postgres **db)
{
    *db = userdata_of(L, 1, POSTGRES_TYPE);
    if (!*db)
        return misuse(L, "a database expected; call it with a colon, as db:query(…)");
    if (!(*db)->pool)
        return misuse(L, "the database is closed");
    return task_current(L) != NULL || misuse(L, "cannot wait here: no task is running");
}

/* What a verb works on: a pool, or a transaction. */
struct place {
    struct lua_postgres *db;
    struct postgres_tx *tx;
};

static bool check_tx(lua_State *L, struct place *place)
{
    place->tx = userdata_of(L, 1, POSTGRES_TX_TYPE);
    if (!place->tx)
        return misuse(L, "a transaction expected, as db:transaction(function(tx) … end) gives it");
    place->db = place->tx->owner;
    if (!place->db->pool)
        return misuse(L, "the database is closed");
    if (!place->tx->id || place->tx->ended)
        return misuse(L, "the transaction has ended");
    return task_current(L) != NULL || misuse(L, "cannot wait here: no task is running");
}

static bool check_db(lua_State *L, struct place *place)
{
    place->tx = NULL;
    if (!postgres_check_db(L, &place->db))
        return false;
    return !postgres_holds(place->db->pool, task_current(L)) ||
           misuse(L, "inside db:transaction(function(tx) … end) use tx, not db");
}

static bool check_place(lua_State *L, struct place *place)
{
    return userdata_of(L, 1, POSTGRES_TX_TYPE) ? check_tx(L, place) : check_db(L, place);
}

/* --- verbs --- */

/* Tables that are no blobs go as JSON. */
static void encode_tables(lua_State *L, int first)
{
    const int top = lua_gettop(L);

    for (int i = first; i <= top; i++) {
        if (lua_type(L, i) != LUA_TTABLE || sql_is_blob(L, i))
            continue;
        json_encode_value(L, i);
        lua_replace(L, i);
    }
}

/* libpq takes text up to its first NUL, and the server would refuse it. */
static bool check_nul(lua_State *L, int first)
{
    const int top = lua_gettop(L);
    struct postgres_error error = {.code = "22021"};

    for (int i = first; i <= top; i++) {
        size_t len = 0;
        const char *text = lua_type(L, i) == LUA_TSTRING ? lua_tolstring(L, i, &len) : NULL;

        if (!text || !memchr(text, '\0', len))
            continue;
        snprintf(error.message, sizeof(error.message),
                 "value %d has a NUL in it, which text cannot hold; bytes are bound by "
                 "postgres.blob(bytes)",
                 i - first + 1);
        lua_pushboolean(L, false);
        postgres_push_error(L, &error, lua_tostring(L, 2));
        return false;
    }
    return true;
}

/* The statement at 2 and its values. False: pushes what is to be returned. */
static bool check_statement(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return misuse(L, "the statement must be a string, got %s", luaL_typename(L, 2));
    if (strlen(lua_tostring(L, 2)) != lua_objlen(L, 2))
        return misuse(L, "the statement has a NUL in it");
    encode_tables(L, 3);
    if (!sql_check_values(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return false;
    }
    return check_nul(L, 3);
}

/* verb(db | tx, sql, values...): waits */
static int run(lua_State *L, enum postgres_verb verb)
{
    struct place place;
    struct postgres_call *call;

    if (!check_place(L, &place) || !check_statement(L))
        return 2;
    call = postgres_call_new(L, verb);
    call->request.sql = mem_copy(lua_tostring(L, 2));
    call->request.sql_len = lua_objlen(L, 2);
    call->request.transaction = place.tx ? place.tx->id : 0;
    call->request.value_count = (unsigned)lua_gettop(L) - 2;
    sql_add_values(L, 3, &call->request.values);
    postgres_submit(place.db->pool, &call->request);
    return postgres_call_wait(L, call);
}

static int query(lua_State *L)
{
    return run(L, POSTGRES_ROWS);
}

static int first(lua_State *L)
{
    return run(L, POSTGRES_FIRST);
}

static int exec(lua_State *L)
{
    return run(L, POSTGRES_EXEC);
}

/* begin(db) -> transaction: waits for a connection */
static int begin(lua_State *L)
{
    struct place place;
    struct postgres_tx *tx;
    struct postgres_call *call;
    int anchor;

    if (!check_db(L, &place))
        return 2;
    lua_settop(L, 1);
    tx = lua_newuserdata(L, sizeof(*tx)); /* db tx */
    *tx = (struct postgres_tx){.owner = place.db};
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, 2);
    luaL_getmetatable(L, POSTGRES_TX_TYPE);
    lua_setmetatable(L, 2);
    anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    call = postgres_call_new(L, POSTGRES_BEGIN);
    call->call.anchor = anchor;
    call->request.holder = call->call.task;
    postgres_submit(place.db->pool, &call->request);
    return postgres_call_wait(L, call);
}

/* control(tx, "commit" | "save" | "release", level): waits */
static int control(lua_State *L)
{
    static const char *const names[] = {"commit", "save", "release", NULL};
    static const enum postgres_verb verbs[] = {POSTGRES_COMMIT, POSTGRES_SAVE, POSTGRES_RELEASE};
    const enum postgres_verb verb = verbs[luaL_checkoption(L, 2, NULL, names)];
    const unsigned level = (unsigned)luaL_optinteger(L, 3, 0);
    struct place place;
    struct postgres_call *call;

    if (!check_tx(L, &place))
        return 2;
    call = postgres_call_new(L, verb);
    call->request.transaction = place.tx->id;
    call->request.level = level;
    call->tx = verb == POSTGRES_COMMIT ? place.tx : NULL;
    postgres_submit(place.db->pool, &call->request);
    return postgres_call_wait(L, call);
}

/* undo(tx, level): back to the savepoint; does not wait, so that a cancelled task can do it */
static int undo_to(lua_State *L)
{
    struct postgres_tx *tx = luaL_checkudata(L, 1, POSTGRES_TX_TYPE);
    const unsigned level = (unsigned)luaL_checkinteger(L, 2);
    struct postgres_call *call;

    if (!tx->owner->pool || tx->ended)
        return 0;
    call = postgres_call_new(L, POSTGRES_UNDO);
    postgres_call_abandon(call);
    call->request.transaction = tx->id;
    call->request.level = level;
    postgres_submit(tx->owner->pool, &call->request);
    return 0;
}

/* rollback(tx): does not wait either; nothing if the transaction has ended */
static int rollback(lua_State *L)
{
    struct postgres_tx *tx = luaL_checkudata(L, 1, POSTGRES_TX_TYPE);

    tx->ended = true;
    if (tx->owner->pool)
        postgres_rollback(tx->owner->pool, tx->id);
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
    struct lua_postgres *db = userdata_of(L, 1, POSTGRES_TYPE);

    if (!db) {
        misuse(L, "a database expected; call it with a colon, as db:close()");
        return 2;
    }
    close_db(db);
    lua_pushboolean(L, true);
    return 1;
}

static void set_count(lua_State *L, const char *name, unsigned count)
{
    lua_pushinteger(L, (lua_Integer)count);
    lua_setfield(L, -2, name);
}

/* stats(db) -> { open, idle, waiting } */
static int stats(lua_State *L)
{
    struct lua_postgres *db = userdata_of(L, 1, POSTGRES_TYPE);
    struct postgres_stats now = {0};

    if (!db) {
        misuse(L, "a database expected; call it with a colon, as db:stats()");
        return 2;
    }
    if (db->pool)
        now = postgres_stats(db->pool);
    lua_pushboolean(L, true);
    lua_createtable(L, 0, 3);
    set_count(L, "open", now.open);
    set_count(L, "idle", now.idle);
    set_count(L, "waiting", now.waiting);
    return 2;
}

/* --- opening --- */

static uint64_t milliseconds(lua_State *L, int arg)
{
    return (uint64_t)(luaL_checknumber(L, arg) * 1000);
}

/* open(url, max, statements, idle, connect, statement, acquire seconds) -> db: does not wait */
static int open_db(lua_State *L)
{
    const struct postgres_options options = {
        .url = luaL_checkstring(L, 1),
        .max = (unsigned)luaL_checkinteger(L, 2),
        .statements = (unsigned)luaL_checkinteger(L, 3),
        .idle_timeout_ms = milliseconds(L, 4),
        .connect_timeout_ms = milliseconds(L, 5),
        .statement_timeout_ms = milliseconds(L, 6),
        .acquire_timeout_ms = milliseconds(L, 7),
    };
    struct lua_postgres *db;
    struct err err;

    if (!vm_loop(vm_of(L))) {
        misuse(L, "there are no databases here: nothing turns an event loop");
        return 2;
    }
    lua_pushboolean(L, true);
    db = lua_newuserdata(L, sizeof(*db));
    *db = (struct lua_postgres){.resource = {.kind = "postgres", .close = close_resource}};
    luaL_getmetatable(L, POSTGRES_TYPE);
    lua_setmetatable(L, -2);
    db->pool = postgres_open(vm_loop(vm_of(L)), &options, &err);
    if (!db->pool) {
        misuse(L, "%s", err.message);
        return 2;
    }
    snprintf(db->resource.label, sizeof(db->resource.label), "%s", postgres_label(db->pool));
    ledger_add(vm_of(L), &db->resource);
    return 2;
}

static const luaL_Reg functions[] = {
    {"open", open_db},
    {"query", query},
    {"first", first},
    {"exec", exec},
    {"begin", begin},
    {"control", control},
    {"undo", undo_to},
    {"rollback", rollback},
    {"close", close_now},
    {"trace", keep_trace},
    {"stats", stats},
    {"listen", postgres_listen_on},
    {"stop", postgres_listen_stop},
    {NULL, NULL},
};

int bind_postgres_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions); /* module */
    sql_open(L);
    add_class(L, POSTGRES_TYPE, "database", collect_db);
    add_class(L, POSTGRES_TX_TYPE, "transaction", collect_tx);
    postgres_listen_register(L);
    return 1;
}
