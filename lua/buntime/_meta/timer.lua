--- @meta buntime.core.timer
--- Implemented in runtime/bind/bind_timer.c; for the functions that wait see buntime.wait.

local timer = {}

--- Waits.
--- @param seconds number Not negative.
--- @return boolean ok
--- @return string? message
function timer.sleep(seconds) end

--- @param seconds number Not negative.
--- @param fn fun()
--- @return buntime.Timer
function timer.after(seconds, fn) end

--- @param seconds number More than 0.
--- @param fn fun()
--- @return buntime.Timer
function timer.every(seconds, fn) end

--- @class buntime.Timer
local Timer = {}

--- Stops the timer; a run that has begun goes on.
--- @return boolean running Whether it was still to fire.
function Timer:stop() end

return timer
