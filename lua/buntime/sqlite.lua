--- SQLite: the database that is always there.
---
---     local db = sqlite.open("todo.db", {
---       migrations = { "create table todo(id integer primary key, title text)" },
---     })
---     local id = db:exec("insert into todo(title) values (?)", "write it down").last_id
---     local row = db:first("select * from todo where id = ?", id)
---     db:transaction(function(tx)
---       tx:exec("update todo set title = ? where id = ?", "done", id)
---     end)
---
--- Files are in the plugin's data folder, which survives reloads and upgrades. Everything here waits
--- without holding up the server; a task that is cancelled interrupts its statement.
---
--- Values are bound to `?` or `$1`. NULL is `json.null` in rows, and nil or `json.null` as a value. Integers
--- beyond 2^53 are `int64_t` of the FFI, both ways, and are exact. Text and blobs are strings; a string binds
--- as text and must be UTF-8, bytes bind as `sqlite.blob(bytes)`. Booleans bind as 1 and 0.

local core = require("buntime.core.sqlite")
local sql = require("buntime.sql")
local transactions = require("buntime.transactions")
require("buntime.json") -- lists of rows are arrays for it

local settle, misuse = sql.settle, sql.misuse

sql.set_error(core.error)
core.blob.__metatable = "blob"

--- @class buntime.SqliteOptions
--- @field migrations? string[] Each is applied once, in order; one or more statements. Never edit one that
---   was applied: it raises MIGRATION_CHANGED.
--- @field busy_timeout? number Seconds that a statement waits for the writer; 5 unless told.
--- @field readers? integer Connections that read side by side, 1 to 16; 3 unless told.
--- @field max_size? integer Bytes that the file may have; more is SQLITE_FULL.

--- @class buntime.sqlite
local M = {}

-- Statements -----------------------------------------------------------------------------------------

--- @class buntime.Sqlite
local Db = core.database

--- @class buntime.SqliteTransaction
local Tx = core.transaction

--- All rows as tables by column name. More than 64 MB of them raise RESULT_TOO_LARGE.
--- @param statement string One statement.
--- @param ... any Values.
--- @return table<string, any>[] rows
function Db:query(statement, ...)
  return settle("db:query", core.query(self, statement, ...))
end

--- The first row.
--- @param statement string
--- @param ... any Values.
--- @return table<string, any>? row
function Db:first(statement, ...)
  return settle("db:first", core.first(self, statement, ...))
end

--- @class buntime.SqlChanges
--- @field changes integer Rows that were inserted, updated or deleted.
--- @field last_id? integer The rowid of the last inserted row.

--- Runs a statement for its effect.
--- @param statement string
--- @param ... any Values.
--- @return buntime.SqlChanges
function Db:exec(statement, ...)
  return settle("db:exec", core.exec(self, statement, ...))
end

Tx.query, Tx.first, Tx.exec = Db.query, Db.first, Db.exec

-- Transactions ---------------------------------------------------------------------------------------

--- Runs `fn(tx)` with the writer for itself: BEGIN IMMEDIATE, then COMMIT and what `fn` returned. An error,
--- also a cancellation, rolls back and goes on. Until the end other writers wait, and use of `db` itself in
--- this task raises.
--- @type fun(self: buntime.Sqlite, fn: fun(tx: buntime.SqliteTransaction): any): any
Db.transaction = transactions.outer(core)

--- A part of the transaction that may fail by itself (a savepoint): an error undoes what `fn` did, and goes
--- on.
--- @type fun(self: buntime.SqliteTransaction, fn: fun(tx: buntime.SqliteTransaction): any): any
Tx.transaction = transactions.inner(core)

--- Closes the database. A transaction that is open is rolled back; what still waits raises.
function Db:close()
  settle("db:close", core.close(self))
end

-- Opening --------------------------------------------------------------------------------------------

local OPTIONS = {
  { name = "busy_timeout", default = 5, least = 0, most = 3600 },
  { name = "readers", default = 3, least = 1, most = 16 },
  { name = "max_size", default = 0, least = 65536, most = 2 ^ 50 },
}

local function check_migrations(list)
  if list == nil then
    return {}
  elseif type(list) ~= "table" then
    misuse("sqlite.open", "migrations must be a list of statements, got %s", type(list))
  end
  for i = 1, #list do
    if type(list[i]) ~= "string" or list[i]:find("%z") then
      misuse("sqlite.open", "migration %d must be SQL text, got %s", i, type(list[i]))
    end
  end
  return list
end

--- Opens a database, makes it if it is missing, and applies its migrations.
--- @param name string A file of the data folder such as "todo.db" or "archive/2024.db"; or ":memory:".
--- @param options? buntime.SqliteOptions
--- @return buntime.Sqlite
function M.open(name, options)
  if type(name) ~= "string" then
    misuse("sqlite.open", "the name must be a string, got %s", type(name))
  end
  local o = sql.numbers("sqlite.open", options, OPTIONS, { "migrations" })
  local migrations = check_migrations(options and options.migrations)
  local file = name ~= ":memory:" and name or nil
  return settle("sqlite.open", core.open(file, o.busy_timeout, o.readers, o.max_size, migrations))
end

--- Bytes to be bound as a blob.
--- @param bytes string
--- @return buntime.SqlBlob
function M.blob(bytes)
  return sql.blob("sqlite.blob", core.blob, bytes)
end

return M
