--- The one global that the runtime adds; also `require "buntime"`.

local sys = require("buntime.core.sys")
local timer = require("buntime.core.timer")
local awaitable = require("buntime.wait")

--- @class buntime
local M = {}

--- The version of the runtime, such as "1.0.0".
--- @type string
M.version = sys.version

--- The environment: `buntime.env.NAME` is a string, or nil when the variable is unset or empty.
--- Assigning raises.
--- @type table<string, string?>
M.env = setmetatable({}, {
  __index = function(_, name)
    return sys.env(name)
  end,
  __newindex = function()
    error("buntime.env is read-only", 2)
  end,
  __metatable = false,
})

local sleep = awaitable(timer.sleep)

--- Waits; everything else goes on meanwhile.
--- @param seconds number Not negative.
function M.sleep(seconds)
  if type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds then
    local problem = "buntime.sleep: seconds must be a number that is not negative, got %s"
    error(problem:format(tostring(seconds)), 2)
  end
  sleep(seconds)
end

return M
