--- Tasks: functions that run beside the one that started them.
---
---     local page = task.spawn(load, "/page")
---     local user = task.spawn(load, "/user")
---     local a, b = task.gather(page, user)
---
--- A task runs until its first wait before `spawn` returns. An error in a task that nobody waits for
--- is logged.

local core = require("buntime.core.task")
local awaitable = require("buntime.wait")

local wait = awaitable(core.wait)

--- @class buntime.Task
local Task = core.methods

local function outcome(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

--- Waits until the task has ended. Returns its results, or raises its error; may be called again.
--- @return any ...
function Task:wait()
  wait(self)
  return outcome(core.result(self))
end

--- Ends the task: its wait raises "the task was cancelled" in it, so that its cleanup runs. Whoever
--- waits for it gets that error.
--- @return boolean running Whether it had not ended by itself.
function Task:cancel()
  return core.cancel(self)
end

--- @class buntime.task
local M = {}

--- @type fun(fn: function, ...: any): buntime.Task
M.spawn = core.spawn

local function check(name, tasks, count)
  if count == 0 then
    error(("task.%s: expected tasks, got nothing"):format(name), 3)
  end
  for i = 1, count do
    if type(tasks[i]) ~= "userdata" or type(tasks[i].wait) ~= "function" then
      local problem = "task.%s: argument %d must be a task, got %s"
      error(problem:format(name, i, type(tasks[i])), 3)
    end
  end
end

local function ended(t)
  return core.result(t) ~= nil
end

--- Waits for all of them. Returns the first result of each, in the order of the arguments; raises the
--- first error as soon as it happens. The others go on.
--- @param ... buntime.Task
--- @return any ...
function M.gather(...)
  local count = select("#", ...)
  local tasks, open, results = { ... }, { ... }, {}
  check("gather", tasks, count)
  while #open > 0 do
    wait(unpack(open))
    local still = {}
    for _, t in ipairs(open) do
      if ended(t) then
        outcome(core.result(t))
      else
        still[#still + 1] = t
      end
    end
    open = still
  end
  for i = 1, count do
    results[i] = outcome(core.result(tasks[i]))
  end
  return unpack(results, 1, count)
end

--- Waits for the first to end, cancels the others, and returns its results or raises its error.
--- @param ... buntime.Task
--- @return any ...
function M.race(...)
  local count = select("#", ...)
  local tasks, first = { ... }, nil
  check("race", tasks, count)
  wait(...)
  for i = 1, count do
    if not first and ended(tasks[i]) then
      first = tasks[i]
    end
  end
  for i = 1, count do
    if tasks[i] ~= first then
      core.cancel(tasks[i])
    end
  end
  return outcome(core.result(first))
end

return M
