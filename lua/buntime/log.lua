--- The log. Each line has the plugin's name and, while a request is served, its id.
---
--- Messages are strings (anything else goes through `tostring`); fields are a table of further facts.
--- A field that JSON cannot hold is shown as a string, it never raises.

local sys = require("buntime.core.sys")

local function writer(level)
  return function(message, fields)
    if fields ~= nil and type(fields) ~= "table" then
      local problem = "log.%s: argument 2 (fields) must be a table, got %s"
      error(problem:format(level, type(fields)), 2)
    end
    sys.log(level, type(message) == "string" and message or tostring(message), fields)
  end
end

--- @alias buntime.LogFunction fun(message: any, fields?: table)

--- @class buntime.log
local M = {
  --- @type buntime.LogFunction
  debug = writer("debug"),
  --- @type buntime.LogFunction
  info = writer("info"),
  --- @type buntime.LogFunction
  warn = writer("warn"),
  --- @type buntime.LogFunction
  error = writer("error"),
}

return M
