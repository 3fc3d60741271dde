--- @meta buntime.core.task
--- Implemented in runtime/bind/bind_task.c; for the functions that wait see buntime.wait.

local task = {}

--- The methods of a task, which lua/buntime/task.lua adds.
--- @type table
task.methods = nil

--- @param fn function Runs until its first wait before this returns.
--- @param ... any At most 16.
--- @return buntime.Task
function task.spawn(fn, ...) end

--- Waits until one of the tasks has ended.
--- @param ... buntime.Task
--- @return boolean ok
--- @return string? message
function task.wait(...) end

--- How a task ended.
--- @param t buntime.Task
--- @return boolean? ok nil while it runs
--- @return any ... Its results, or its error.
function task.result(t) end

--- @param t buntime.Task
--- @return boolean running Whether it had not ended by itself.
function task.cancel(t) end

return task
