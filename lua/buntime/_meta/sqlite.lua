--- @meta buntime.core.sqlite
--- Implemented in runtime/bind/bind_sqlite.c. What waits gives `true, values...`, `false, error`, or
--- `nil, message` for misuse; see buntime.sql.

local sqlite = {}

--- @param name? string nil: in memory.
--- @param busy number Seconds.
--- @param readers integer
--- @param most integer Bytes; 0: no limit.
--- @param migrations string[]
--- @return boolean? ok
--- @return buntime.Sqlite|buntime.SqlError|string db
function sqlite.open(name, busy, readers, most, migrations) end

--- @param db buntime.Sqlite|buntime.SqliteTransaction
--- @param statement string
--- @param ... any
--- @return boolean? ok
--- @return table<string, any>[]|buntime.SqlError|string rows
function sqlite.query(db, statement, ...) end

--- @param db buntime.Sqlite|buntime.SqliteTransaction
--- @param statement string
--- @param ... any
--- @return boolean? ok
--- @return table<string, any>|buntime.SqlError|string|nil row
function sqlite.first(db, statement, ...) end

--- @param db buntime.Sqlite|buntime.SqliteTransaction
--- @param statement string
--- @param ... any
--- @return boolean? ok
--- @return buntime.SqlChanges|buntime.SqlError|string changes
function sqlite.exec(db, statement, ...) end

--- @param db buntime.Sqlite
--- @return boolean? ok
--- @return buntime.SqliteTransaction|buntime.SqlError|string transaction
function sqlite.begin(db) end

--- @param tx buntime.SqliteTransaction
--- @param verb "commit"|"save"|"release"
--- @param level? integer Of the savepoint.
--- @return boolean? ok
--- @return buntime.SqlError|string|nil problem
function sqlite.control(tx, verb, level) end

--- Back to a savepoint, without waiting.
--- @param tx buntime.SqliteTransaction
--- @param level integer
function sqlite.undo(tx, level) end

--- Without waiting; nothing if the transaction has ended.
--- @param tx buntime.SqliteTransaction
function sqlite.rollback(tx) end

--- @param db buntime.Sqlite
--- @return boolean? ok
--- @return string? message
function sqlite.close(db) end

--- Remembers where an error was raised that will be raised again.
--- @param message string
--- @param traceback string
function sqlite.trace(message, traceback) end

--- The metatables of errors and blobs, and the methods of databases and transactions.
--- @type table
sqlite.error = nil
--- @type table
sqlite.blob = nil
--- @type table
sqlite.database = nil
--- @type table
sqlite.transaction = nil

return sqlite
