--- Errors that are answers.
---
---     error(errors.new(409, "NAME_TAKEN", "there is a todo of that name"))
---
--- Raised in a handler, such a table becomes its status with the error shape that all of buntime
--- answers with. Any table with an integer `status` from 400 to 599 will do.

local json = require("buntime.core.json")

--- @class buntime.HttpError
--- @field status integer 400 to 599.
--- @field code string SCREAMING_SNAKE, for programs.
--- @field message string For people.

local meta = {
  __tostring = function(err)
    return ("%s (%d %s)"):format(tostring(err.message), err.status, tostring(err.code))
  end,
}

--- @class buntime.error
local M = {}

--- Codes for statuses that come without one.
local CODES = {
  [400] = "BAD_REQUEST",
  [401] = "UNAUTHORIZED",
  [403] = "FORBIDDEN",
  [404] = "NOT_FOUND",
  [405] = "METHOD_NOT_ALLOWED",
  [409] = "CONFLICT",
  [413] = "BODY_TOO_LARGE",
  [415] = "UNSUPPORTED_MEDIA_TYPE",
  [422] = "UNPROCESSABLE",
  [426] = "UPGRADE_REQUIRED",
  [429] = "TOO_MANY_REQUESTS",
  [500] = "INTERNAL_SERVER_ERROR",
  [503] = "SERVICE_UNAVAILABLE",
}

--- @param status integer
--- @return string code
function M.code(status)
  return CODES[status] or "HTTP_" .. status
end

--- @param status integer 400 to 599.
--- @param code string
--- @param message string
--- @return buntime.HttpError
function M.new(status, code, message)
  if not M.is_status(status) then
    error(("error.new: status must be an integer from 400 to 599, got %s"):format(tostring(status)), 2)
  end
  return setmetatable({ status = status, code = code, message = message }, meta)
end

--- @return boolean
function M.is_status(status)
  return type(status) == "number" and status >= 400 and status <= 599 and status % 1 == 0
end

--- Whether an error value is an answer.
--- @return boolean
function M.is(err)
  return type(err) == "table" and M.is_status(rawget(err, "status"))
end

--- The text of the error shape.
--- @param code string
--- @param message string
--- @param request_id? string
--- @param traceback? string
--- @return string json
function M.body(code, message, request_id, traceback)
  return json.encode({
    success = false,
    code = code,
    message = message,
    requestId = request_id,
    traceback = traceback,
  })
end

return M
