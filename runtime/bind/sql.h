/* SQL values, rows and errors between Lua and the flat bytes that data/ works with.
 *
 * In Lua: NULL is json.null (nil binds as NULL too), an integer is a number up to 2^53 and an
 * int64_t of the FFI beyond, text and blobs are strings. A string binds as text and must be UTF-8;
 * blob(bytes) of the module binds as a blob. SQLite takes booleans as 1 and 0. Values of
 * SQL_JSON come decoded. buntime.json must be loaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/buf.h"
#include "data/sqlite_value.h"

#define SQL_ERROR_TYPE "buntime.sql.error"
#define SQL_BLOB_TYPE "buntime.sql.blob"

/* Once in a VM: makes the metatables and sets them as `error` and `blob` of the module on top. */
void sql_open(lua_State *L);

/* Readies the values from stack index `first` on for sql_add_values(). False: pushes what is wrong
 * with one of them.
 */
bool sql_check_values(lua_State *L, int first);

bool sql_is_blob(lua_State *L, int index);

/* Cannot raise. */
void sql_add_values(lua_State *L, int first, struct buf *out);

/* These push one value and may raise. */
void sql_push_value(lua_State *L, const struct sql_value *value);
void sql_push_integer(lua_State *L, int64_t integer);
void sql_push_error(
    lua_State *L, const char *code, const char *message, const char *statement, size_t position);

/* Rows being made into a list of tables, or into one table. */
struct sql_rows {
    const char *names; /* NUL-terminated, one after the other */
    unsigned columns;
    size_t count; /* rows */

    /* sql_push_rows()'s own; starts as {NULL, 0} with `at` at the cells */
    const char *at;
    size_t made;
};

/* An empty list of rows, with room for so many. It is an array for JSON, also when it stays empty.
 */
void sql_push_list(lua_State *L, size_t count);

/* Adds up to `most` rows (and not many more than `bytes` of them) to the list at the top. */
void sql_push_rows(lua_State *L, struct sql_rows *rows, size_t most, size_t bytes);

/* The first row as a table, or nil. */
void sql_push_row(lua_State *L, struct sql_rows *rows);
