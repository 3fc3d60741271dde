--- Functions that run later. Each run is a task of its own: it may wait, and an error in it is logged.
---
--- Timers go on when their value is dropped; they end with the plugin's instance. With 10,000 things open
--- (timers, schedules, sockets) a plugin gets no more timers: asking raises.

local core = require("buntime.core.timer")

--- @class buntime.timer
local M = {}

--- Runs `fn` once, after `seconds`.
--- @type fun(seconds: number, fn: fun()): buntime.Timer
M.after = core.after

--- Runs `fn` every `seconds`. A run is left out while the one before it still waits.
--- @type fun(seconds: number, fn: fun()): buntime.Timer
M.every = core.every

return M
