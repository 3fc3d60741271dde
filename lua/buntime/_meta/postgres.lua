--- @meta buntime.core.postgres
--- Implemented in runtime/bind/bind_postgres.c. What waits gives `true, values...`, `false, error`, or
--- `nil, message` for misuse; see buntime.sql.

local postgres = {}

--- Does not wait.
--- @param url string
--- @param max integer
--- @param statements integer
--- @param idle number Seconds, as those that follow; 0: never.
--- @param connect number
--- @param statement number 0: no limit.
--- @param acquire number
--- @return boolean? ok
--- @return buntime.Postgres|string db
function postgres.open(url, max, statements, idle, connect, statement, acquire) end

--- @param db buntime.Postgres|buntime.PostgresTransaction
--- @param statement string
--- @param ... any
--- @return boolean? ok
--- @return table<string, any>[]|buntime.PostgresError|string rows
function postgres.query(db, statement, ...) end

--- @param db buntime.Postgres|buntime.PostgresTransaction
--- @param statement string
--- @param ... any
--- @return boolean? ok
--- @return table<string, any>|buntime.PostgresError|string|nil row
function postgres.first(db, statement, ...) end

--- @param db buntime.Postgres|buntime.PostgresTransaction
--- @param statement string
--- @param ... any
--- @return boolean? ok
--- @return buntime.SqlChanges|buntime.PostgresError|string changes
function postgres.exec(db, statement, ...) end

--- @param db buntime.Postgres
--- @return boolean? ok
--- @return buntime.PostgresTransaction|buntime.PostgresError|string transaction
function postgres.begin(db) end

--- @param tx buntime.PostgresTransaction
--- @param verb "commit"|"save"|"release"
--- @param level? integer Of the savepoint.
--- @return boolean? ok
--- @return buntime.PostgresError|string|nil problem
function postgres.control(tx, verb, level) end

--- Back to a savepoint, without waiting.
--- @param tx buntime.PostgresTransaction
--- @param level integer
function postgres.undo(tx, level) end

--- Without waiting; nothing if the transaction has ended.
--- @param tx buntime.PostgresTransaction
function postgres.rollback(tx) end

--- @param db buntime.Postgres
--- @param channel string
--- @param fn fun(payload: string, channel: string)
--- @param restored? fun(channel: string)
--- @return boolean? ok
--- @return buntime.PostgresListener|buntime.PostgresError|string listener
function postgres.listen(db, channel, fn, restored) end

--- @param listener buntime.PostgresListener
--- @return boolean listened
function postgres.stop(listener) end

--- @param db buntime.Postgres
--- @return boolean? ok
--- @return buntime.PostgresStats|string stats
function postgres.stats(db) end

--- @param db buntime.Postgres
--- @return boolean? ok
--- @return string? message
function postgres.close(db) end

--- Remembers where an error was raised that will be raised again.
--- @param message string
--- @param traceback string
function postgres.trace(message, traceback) end

--- The metatables of errors and blobs, and the methods of databases, transactions and listeners.
--- @type table
postgres.error = nil
--- @type table
postgres.blob = nil
--- @type table
postgres.database = nil
--- @type table
postgres.transaction = nil
--- @type table
postgres.listener = nil

return postgres
