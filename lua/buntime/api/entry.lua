--- What the runtime calls for each request to the control plane: the counterpart of the entries that
--- lua/buntime/plugin.lua makes of a plugin.

local api = require("buntime.api")
local respond = require("buntime.core.request").respond

local NOT_MINE, ANSWERED = 0, 2

--- @param req buntime.Request Its path without RUNTIME_API_PREFIX.
--- @return integer
return function(req)
  local response = api:handle(req)
  if not response then
    return NOT_MINE
  end
  respond(req, response)
  return ANSWERED
end
