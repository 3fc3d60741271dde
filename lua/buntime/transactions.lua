--- Transactions of the databases, which differ in their C modules alone.
---
--- Such a module has `begin`, `control`, `undo`, `rollback` and `trace`. `undo` and `rollback` do not wait,
--- so that a task that was cancelled can still do them.

local sql = require("buntime.sql")

local settle = sql.settle

local M = {}

local function check_function(what, fn)
  if type(fn) ~= "function" then
    sql.misuse(what, "expected a function, got %s", type(fn))
  end
end

--- Keeps where an error came from: rolling back leaves its stack.
local function tracer(core)
  return function(err)
    core.trace(tostring(err), debug.traceback("", 2):sub(2))
    return err
  end
end

--- @return fun(db: any, fn: function): any ...
function M.outer(core)
  local keep_trace = tracer(core)

  local function finish(tx, ok, ...)
    if not ok then
      core.rollback(tx)
      error((...), 0)
    end
    local committed, problem = pcall(settle, "db:transaction", core.control(tx, "commit"))
    if not committed then
      core.rollback(tx)
      error(problem, 0)
    end
    return ...
  end

  return function(db, fn)
    check_function("db:transaction", fn)
    local tx = settle("db:transaction", core.begin(db))
    return finish(tx, xpcall(fn, keep_trace, tx))
  end
end

--- @return fun(tx: any, fn: function): any ...
function M.inner(core)
  local keep_trace = tracer(core)
  --- Depth of savepoints by transaction.
  local levels = setmetatable({}, { __mode = "k" })

  local function finish(tx, level, ok, ...)
    levels[tx] = level - 1
    if not ok then
      core.undo(tx, level)
      error((...), 0)
    end
    settle("tx:transaction", core.control(tx, "release", level))
    return ...
  end

  return function(tx, fn)
    check_function("tx:transaction", fn)
    local level = (levels[tx] or 0) + 1
    settle("tx:transaction", core.control(tx, "save", level))
    levels[tx] = level
    return finish(tx, level, xpcall(fn, keep_trace, tx))
  end
end

return M
