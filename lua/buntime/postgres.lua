--- PostgreSQL, with the verbs of buntime.sqlite.
---
---     local db = postgres.connect(buntime.env.DATABASE_URL, { max = 10 })
---     local row = db:first("select * from todo where id = $1", id)
---     db:transaction(function(tx)
---       tx:exec("update todo set title = ? where id = ?", "done", id)
---     end)
---
--- A pool of connections that are made when they are needed. Everything here waits without holding up the
--- server; a task that is cancelled has its statement cancelled at the server.
---
--- Values are bound to `$1` or `?` and never part of the text; `??` is the operator `?`. NULL is
--- `json.null` in rows, and nil or `json.null` as a value. A table binds as JSON, bytes as
--- `postgres.blob(bytes)`, a list as `postgres.array(list)`. In rows, booleans, numbers, json and jsonb are
--- values of Lua, and bytea is a string; integers beyond 2^53 are `int64_t` of the FFI. Times are ISO 8601
--- text, in UTC where they have a zone. Everything else, numeric among it, is PostgreSQL's text.

local core = require("buntime.core.postgres")
local sql = require("buntime.sql")
local transactions = require("buntime.transactions")
local json = require("buntime.json") -- rows may hold some, so it must be loaded

local settle, misuse = sql.settle, sql.misuse

sql.set_error(core.error)
core.blob.__metatable = "blob"

--- @class buntime.PostgresOptions
--- @field max? integer Most connections, 1 to 1000; 10 unless told. A listener has one more.
--- @field idle_timeout? number Seconds after which an idle connection is closed, 0: never; 60 unless told.
--- @field connect_timeout? number Seconds; 10 unless told.
--- @field statement_timeout? number Seconds that a statement may take, 0: any; 30 unless told.
--- @field acquire_timeout? number Seconds that a call waits for a connection; 10 unless told.
--- @field statements? integer Prepared statements that a connection keeps, 0 to 256; 100 unless told. 0 is
---   for a PgBouncer that gives each transaction another connection.

--- What a statement that failed raises.
--- @class buntime.PostgresError: buntime.SqlError
--- @field code string SQLSTATE such as "23505", or "CONNECTION_FAILED", "CONNECTION_LOST", "ACQUIRE_TIMEOUT",
---   "VALUE_COUNT", "RESULT_TOO_LARGE", "USE_TRANSACTION", "TRANSACTION_ENDED", "NOT_SUPPORTED", "CLOSED".
--- @field detail? string
--- @field hint? string
--- @field constraint? string The name of the constraint that said no.

--- @class buntime.postgres
local M = {}

-- Statements -----------------------------------------------------------------------------------------

--- @class buntime.Postgres
local Db = core.database

--- @class buntime.PostgresTransaction
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

--- Runs a statement for its effect. For what an insert made, use `first` with `returning`.
--- @param statement string
--- @param ... any Values.
--- @return buntime.SqlChanges changes
function Db:exec(statement, ...)
  return settle("db:exec", core.exec(self, statement, ...))
end

Tx.query, Tx.first, Tx.exec = Db.query, Db.first, Db.exec

--- Runs `fn(tx)` on a connection of its own: BEGIN, then COMMIT and what `fn` returned. An error, also a
--- cancellation, rolls back and goes on. Use of `db` itself in this task raises until the end.
--- @type fun(self: buntime.Postgres, fn: fun(tx: buntime.PostgresTransaction): any): any
Db.transaction = transactions.outer(core)

--- A part of the transaction that may fail by itself (a savepoint): an error undoes what `fn` did, and goes
--- on.
--- @type fun(self: buntime.PostgresTransaction, fn: fun(tx: buntime.PostgresTransaction): any): any
Tx.transaction = transactions.inner(core)

--- Closes the pool. A transaction that is open is rolled back; what still waits raises.
function Db:close()
  settle("db:close", core.close(self))
end

--- @class buntime.PostgresStats
--- @field open integer Connections, those that are being made among them.
--- @field idle integer Connections that have nothing to do.
--- @field waiting integer Calls that wait for a connection.

--- What the pool does now.
--- @return buntime.PostgresStats
function Db:stats()
  return settle("db:stats", core.stats(self))
end

-- LISTEN and NOTIFY ----------------------------------------------------------------------------------

--- @class buntime.PostgresListener
local Listener = core.listener

--- Calls `fn(payload, channel)` for each message, one after the other, each in a task of its own. Waits until
--- the server has agreed. A connection that is lost later is made again; `restored(channel)` then says that
--- messages may have been missed. Goes on until it is stopped or the database is closed.
--- @param channel string
--- @param fn fun(payload: string, channel: string)
--- @param restored? fun(channel: string)
--- @return buntime.PostgresListener
function Db:listen(channel, fn, restored)
  if restored ~= nil and type(restored) ~= "function" then
    misuse("db:listen", "`restored` must be a function, got %s", type(restored))
  end
  return settle("db:listen", core.listen(self, channel, fn, restored))
end

--- @return boolean listened Whether it had not been stopped before.
function Listener:stop()
  return core.stop(self)
end

--- Sends a message to who listens on the channel, here or in other programs. In a transaction it goes when
--- that is committed.
--- @param channel string
--- @param payload? string At most 8000 bytes.
function Db:notify(channel, payload)
  settle("db:notify", core.exec(self, "select pg_notify($1, $2)", channel, payload or ""))
end

Tx.notify = Db.notify

-- Opening --------------------------------------------------------------------------------------------

local OPTIONS = {
  { name = "max", default = 10, least = 1, most = 1000 },
  { name = "statements", default = 100, least = 0, most = 256 },
  { name = "idle_timeout", default = 60, least = 0, most = 1e6 },
  { name = "connect_timeout", default = 10, least = 0.001, most = 1e6 },
  { name = "statement_timeout", default = 30, least = 0, most = 1e6 },
  { name = "acquire_timeout", default = 10, least = 0.001, most = 1e6 },
}

--- A pool for the URL. Connects to nothing yet, so it does not wait, and a server that is down shows in the
--- first statement.
--- @param url string "postgres://user:password@host:5432/name?sslmode=require"
--- @param options? buntime.PostgresOptions
--- @return buntime.Postgres
function M.connect(url, options)
  if type(url) ~= "string" then
    misuse("postgres.connect", "the URL must be a string, got %s", type(url))
  end
  local o = sql.numbers("postgres.connect", options, OPTIONS)
  return settle(
    "postgres.connect",
    core.open(
      url,
      o.max,
      o.statements,
      o.idle_timeout,
      o.connect_timeout,
      o.statement_timeout,
      o.acquire_timeout
    )
  )
end

-- Values ---------------------------------------------------------------------------------------------

--- Bytes to be bound as bytea.
--- @param bytes string
--- @return buntime.SqlBlob
function M.blob(bytes)
  return sql.blob("postgres.blob", core.blob, bytes)
end

local ELEMENTS = { string = true, number = true, boolean = true, cdata = true }

local function element(value, i)
  if value == json.null then
    return "NULL"
  elseif type(value) == "table" then
    return M.array(value)
  elseif not ELEMENTS[type(value)] then
    misuse("postgres.array", "element %d is a %s", i, type(value))
  end
  local text = tostring(value)
  if type(value) == "number" then
    text = value % 1 == 0 and math.abs(value) <= 2 ^ 53 and ("%.0f"):format(value) or ("%.17g"):format(value)
  elseif type(value) == "cdata" then
    text = text:gsub("U?LL$", "")
  end
  return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

--- A list as the text of an array, to be bound as one: `where id = any($1)`. Lists in it are dimensions.
--- @param list any[] Strings, numbers, booleans, `json.null`.
--- @return string
function M.array(list)
  if type(list) ~= "table" then
    misuse("postgres.array", "expected a list, got %s", type(list))
  end
  local parts = {}
  for i = 1, #list do
    parts[i] = element(list[i], i)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return M
