/* buntime.core.sqlite: databases and transactions as Lua values.
 *
 * A call is a request on its way, with the task that waits for it. A task that is cancelled leaves
 * its call behind, which is then freed by the request's `done` and touches no VM any more.
 * Misuse gives nil and a message, so that the library can blame the plugin's line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "base/path.h"
#include "bind/bind.h"
#include "bind/roots.h"
#include "bind/sql.h"
#include "data/sqlite.h"
#include "ev/loop.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

#define DB "buntime.sqlite"
#define TX "buntime.sqlite.transaction"

/* How much of a result is made into tables in one turn of the loop. */
enum { SLICE_ROWS = 1000, SLICE_BYTES = 256 << 10, MIGRATIONS_MAX = 10000 };

struct lua_db {
    struct resource resource;
    struct sqlite *db;   /* NULL: closed */
    struct task *holder; /* of transaction `held` */
    uint64_t held;
};

struct lua_tx {
    struct lua_db *owner; /* kept alive by the value's environment */
    uint64_t id;          /* 0: not begun */
};

struct call {
    struct sqlite_request request; /* first: done() casts back */
    struct vm *vm;
    struct task *task;    /* NULL: cancelled */
    struct lua_db *owner; /* valid while the task waits */
    int anchor;           /* reference of the value that the call is to answer */
    int list;             /* reference of the rows made so far */
    struct post slice;
    struct sql_rows rows;
};

/* --- databases and transactions --- */

static void close_db(struct lua_db *db)
{
    struct sqlite *sqlite = db->db;

    if (!sqlite)
        return;
    db->db = NULL;
    ledger_remove(&db->resource);
    sqlite_close(sqlite);
}

static void close_resource(struct resource *resource)
{
    close_db((struct lua_db *)resource);
}

static int collect_db(lua_State *L)
{
    close_db(lua_touserdata(L, 1));
    return 0;
}

static int collect_tx(lua_State *L)
{
    struct lua_tx *tx = lua_touserdata(L, 1);

    if (tx->id && tx->owner->db)
        sqlite_rollback(tx->owner->db, tx->id);
    return 0;
}

/* What a verb works on: a database, or one with its transaction. */
struct place {
    struct lua_db *db;
    struct lua_tx *tx;
};

static void *of_type(lua_State *L, int index, const char *type)
{
    void *value = lua_touserdata(L, index);
    bool is = value && lua_getmetatable(L, index);

    if (!is)
        return NULL;
    luaL_getmetatable(L, type);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is ? value : NULL;
}

static bool misused(lua_State *L, const char *what)
{
    lua_pushnil(L);
    lua_pushstring(L, what);
    return false;
}

static bool check_tx(lua_State *L, struct place *place)
{
    place->tx = of_type(L, 1, TX);
    if (!place->tx)
        return misused(L, "a transaction expected, as db:transaction(function(tx) … end) gives it");
    place->db = place->tx->owner;
    if (!place->db->db)
        return misused(L, "the database is closed");
    if (!sqlite_in_transaction(place->db->db, place->tx->id))
        return misused(L, "the transaction has ended");
    return task_current(L) != NULL || misused(L, "cannot wait here: no task is running");
}

static bool check_db(lua_State *L, struct place *place)
{
    struct lua_db *db = place->db = of_type(L, 1, DB);

    place->tx = NULL;
    if (!db)
        return misused(L, "a database expected; call it with a colon, as db:query(…)");
    if (!db->db)
        return misused(L, "the database is closed");
    if (!task_current(L))
        return misused(L, "cannot wait here: no task is running");
    if (db->held && db->holder == task_current(L) && sqlite_in_transaction(db->db, db->held))
        return misused(L, "inside db:transaction(function(tx) … end) use tx, not db");
    return true;
}

static bool check_place(lua_State *L, struct place *place)
{
    return of_type(L, 1, TX) ? check_tx(L, place) : check_db(L, place);
}

/* --- answers --- */

static void free_call(struct call *call)
{
    lua_State *L = call->task ? vm_main(call->vm) : NULL;

    if (L) {
        luaL_unref(L, LUA_REGISTRYINDEX, call->anchor);
        luaL_unref(L, LUA_REGISTRYINDEX, call->list);
    }
    sqlite_request_fini(&call->request);
    free(call);
}

static int push_failure(lua_State *L, void *arg)
{
    const struct call *call = arg;
    const struct sqlite_error *error = &call->request.error;

    sql_push_error(L, error->code, error->message,
                   error->statement ? error->statement : call->request.sql, error->position);
    return 1;
}

/* Goes on with the error that `push` makes, or with why it could not be made. */
static void answer_error(struct call *call, const struct err *err)
{
    struct task *task = call->task;
    lua_State *L = vm_main(call->vm); /* an error on a stack that has yielded would end its wait */
    struct err full;

    if (err)
        lua_pushstring(L, err->message);
    else if (!vm_protect(L, push_failure, call, 1, &full))
        lua_pushstring(L, full.message);
    lua_xmove(L, task_state(task), 1);
    free_call(call);
    task_resume_error(task);
}

static int push_changes(lua_State *L, const struct sqlite_request *r)
{
    lua_createtable(L, 0, 2);
    sql_push_integer(L, r->changes);
    lua_setfield(L, -2, "changes");
    if (r->last_id != 0) {
        sql_push_integer(L, r->last_id);
        lua_setfield(L, -2, "last_id");
    }
    return 1;
}

static int push_result(lua_State *L, void *arg)
{
    struct call *call = arg;

    if (call->request.verb == VERB_EXEC)
        return push_changes(L, &call->request);
    if (call->request.verb == VERB_FIRST) {
        sql_push_row(L, &call->rows);
        return 1;
    }
    if (call->list == LUA_NOREF)
        lua_createtable(L, call->rows.count < SLICE_ROWS ? (int)call->rows.count : SLICE_ROWS, 0);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->list);
    sql_push_rows(L, &call->rows, SLICE_ROWS, SLICE_BYTES);
    if (call->rows.made < call->rows.count && call->list == LUA_NOREF) {
        lua_pushvalue(L, -1);
        call->list = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 1;
}

static bool is_unfinished(const struct call *call)
{
    return call->request.verb == VERB_ROWS && call->rows.made < call->rows.count;
}

static void answer_rows(struct call *call)
{
    struct task *task = call->task;
    lua_State *L = vm_main(call->vm);
    struct err err;

    if (!vm_protect(L, push_result, call, 1, &err)) {
        answer_error(call, &err);
    } else if (is_unfinished(call)) {
        lua_pop(L, 1);
        loop_post(vm_loop(call->vm), &call->slice);
    } else {
        lua_xmove(L, task_state(task), 1);
        free_call(call);
        task_resume(task, 1);
    }
}

static void next_slice(struct post *post)
{
    answer_rows((struct call *)((char *)post - offsetof(struct call, slice)));
}

static void answer_value(struct call *call)
{
    struct task *task = call->task;
    const bool has_value = call->anchor != LUA_NOREF;

    if (has_value)
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, call->anchor);
    free_call(call);
    task_resume(task, has_value ? 1 : 0);
}

static void begun(struct call *call)
{
    struct lua_tx *tx;
    lua_State *L = vm_main(call->vm);

    lua_rawgeti(L, LUA_REGISTRYINDEX, call->anchor);
    tx = lua_touserdata(L, -1);
    tx->id = call->request.transaction;
    call->owner->held = tx->id;
    call->owner->holder = call->task;
    lua_pop(L, 1);
}

static void done(struct sqlite_request *request)
{
    struct call *call = (struct call *)request;

    if (!call->task) {
        free_call(call);
        return;
    }
    if (!request->ok) {
        if (request->verb == VERB_OPEN)
            close_db(call->owner);
        answer_error(call, NULL);
        return;
    }
    call->rows = (struct sql_rows){request->names.data, request->column_count, request->row_count,
                                   request->cells.data, 0};
    if (request->verb == VERB_BEGIN)
        begun(call);
    if (request->verb == VERB_ROWS || request->verb == VERB_FIRST || request->verb == VERB_EXEC)
        answer_rows(call);
    else
        answer_value(call);
}

/* --- calls --- */

/* The task is cancelled. */
static void undo(void *arg)
{
    struct call *call = arg;
    lua_State *L = vm_main(call->vm);
    struct lua_db *opening = call->request.verb == VERB_OPEN ? call->owner : NULL;
    const int anchor = call->anchor;
    const bool making = call->rows.count > 0;

    luaL_unref(L, LUA_REGISTRYINDEX, call->list);
    call->task = NULL;
    if (making) {
        loop_unpost(vm_loop(call->vm), &call->slice);
        free_call(call);
    } else {
        sqlite_cancel(&call->request); /* may free it */
    }
    if (opening)
        close_db(opening);
    luaL_unref(L, LUA_REGISTRYINDEX, anchor);
}

static struct call *new_call(lua_State *L, struct lua_db *owner, enum sqlite_verb verb)
{
    struct call *call = mem_alloc(sizeof(*call));

    call->request.verb = verb;
    call->request.done = done;
    call->vm = vm_of(L);
    call->task = task_current(L);
    call->owner = owner;
    call->anchor = call->list = LUA_NOREF;
    call->slice.run = next_slice;
    return call;
}

/* verb(db | tx, sql, values...): waits */
static int run(lua_State *L, enum sqlite_verb verb)
{
    struct place place;
    struct call *call;
    const char *sql;
    size_t len;

    if (!check_place(L, &place))
        return 2;
    if (lua_type(L, 2) != LUA_TSTRING) {
        lua_pushnil(L);
        lua_pushfstring(L, "the statement must be a string, got %s", luaL_typename(L, 2));
        return 2;
    }
    if (!sql_check_values(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    sql = lua_tolstring(L, 2, &len);
    if (memchr(sql, '\0', len)) {
        misused(L, "the statement has a NUL in it");
        return 2;
    }
    call = new_call(L, place.db, verb);
    call->request.sql = mem_copy_n(sql, len);
    call->request.sql_len = len;
    call->request.transaction = place.tx ? place.tx->id : 0;
    call->request.value_count = (unsigned)lua_gettop(L) - 2;
    sql_add_values(L, 3, &call->request.values);
    sqlite_submit(place.db->db, &call->request);
    return task_wait(L, undo, call);
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
    struct lua_tx *tx;
    struct call *call;
    int anchor;

    if (!check_db(L, &place))
        return 2;
    lua_settop(L, 1);
    tx = lua_newuserdata(L, sizeof(*tx)); /* db tx */
    *tx = (struct lua_tx){.owner = place.db};
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, 2);
    luaL_getmetatable(L, TX);
    lua_setmetatable(L, 2);
    anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    call = new_call(L, place.db, VERB_BEGIN);
    call->anchor = anchor;
    sqlite_submit(place.db->db, &call->request);
    return task_wait(L, undo, call);
}

/* control(tx, "commit" | "save" | "release", level): waits */
static int control(lua_State *L)
{
    static const char *const names[] = {"commit", "save", "release", NULL};
    static const enum sqlite_verb verbs[] = {VERB_COMMIT, VERB_SAVE, VERB_RELEASE};
    const int verb = luaL_checkoption(L, 2, NULL, names);
    const unsigned level = (unsigned)luaL_optinteger(L, 3, 0);
    struct place place;
    struct call *call;

    if (!check_tx(L, &place))
        return 2;
    call = new_call(L, place.db, verbs[verb]);
    call->request.transaction = place.tx->id;
    call->request.level = level;
    sqlite_submit(place.db->db, &call->request);
    return task_wait(L, undo, call);
}

static void forget(struct sqlite_request *request)
{
    free_call((struct call *)request);
}

/* undo(tx, level): back to the savepoint; does not wait, so that a cancelled task can do it */
static int undo_to(lua_State *L)
{
    struct lua_tx *tx = luaL_checkudata(L, 1, TX);
    const unsigned level = (unsigned)luaL_checkinteger(L, 2);
    struct call *call;

    if (!tx->owner->db || !sqlite_in_transaction(tx->owner->db, tx->id))
        return 0;
    call = new_call(L, tx->owner, VERB_UNDO);
    call->task = NULL;
    call->request.cancelled = true;
    call->request.done = forget;
    call->request.transaction = tx->id;
    call->request.level = level;
    sqlite_submit(tx->owner->db, &call->request);
    return 0;
}

/* rollback(tx): does not wait either; nothing if the transaction has ended */
static int rollback(lua_State *L)
{
    struct lua_tx *tx = luaL_checkudata(L, 1, TX);

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
    struct lua_db *db = of_type(L, 1, DB);

    if (!db) {
        misused(L, "a database expected; call it with a colon, as db:close()");
        return 2;
    }
    close_db(db);
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
        return misused(L, "the name must be that of a file in the data folder, or \":memory:\"");
    return path_stays_below(name) ||
           misused(L,
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
static struct lua_db *push_db(lua_State *L, int *anchor)
{
    struct lua_db *db = lua_newuserdata(L, sizeof(*db));

    *db = (struct lua_db){.resource = {.kind = "sqlite", .close = close_resource}};
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
    struct lua_db *db;
    struct call *call;
    int anchor;

    luaL_checktype(L, 5, LUA_TTABLE);
    if (!check_name(L))
        return 2;
    if (!task_current(L) || !vm_loop(vm_of(L))) {
        misused(L, "cannot wait here: no task is running");
        return 2;
    }
    options.name = lua_tostring(L, 1);
    options.migrations = take_migrations(L, 5, &options.migration_count);
    options.root = roots_push_data(L);
    db = push_db(L, &anchor);
    snprintf(db->resource.label, sizeof(db->resource.label), "%s",
             options.name ? options.name : ":memory:");
    call = new_call(L, db, VERB_OPEN);
    call->anchor = anchor;
    db->db = sqlite_open(vm_loop(vm_of(L)), &options, &call->request);
    ledger_add(vm_of(L), &db->resource);
    return task_wait(L, undo, call);
}

static const luaL_Reg functions[] = {
    {"open", open_db},    {"query", query},      {"first", first},  {"exec", exec},
    {"begin", begin},     {"control", control},  {"undo", undo_to}, {"rollback", rollback},
    {"close", close_now}, {"trace", keep_trace}, {NULL, NULL},
};

/* The library adds the methods. */
static void add_class(lua_State *L, const char *type, const char *field, lua_CFunction collect)
{
    luaL_newmetatable(L, type); /* module mt */
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index"); /* module mt methods */
    lua_setfield(L, -3, field);
    lua_pop(L, 1);
}

int bind_sqlite_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions); /* module */
    sql_open(L);
    add_class(L, DB, "database", collect_db);
    add_class(L, TX, "transaction", collect_tx);
    return 1;
}
