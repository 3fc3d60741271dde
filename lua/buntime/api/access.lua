--- Who may do what on the control plane, and the record of what was done.
---
--- Each is a middleware of one route: it lets through whom runtime/app/auth.c lets through. Permissions
--- in use here:
---
---   plugins:read     what there is: lists, one plugin, its configuration, its errors
---   plugins:install  which code runs: reloads
---   plugins:config   how it is set up: enabling and disabling

local auth = require("buntime.core.auth")
local control = require("buntime.core.control")
local response = require("buntime.response")

local M = {}

local function refusal(c, status, code, message, retry_after)
  local res = response.error(status, code, message, c.req.id)
  if status == 401 then
    res.headers["www-authenticate"] = 'Bearer realm="buntime"'
  elseif status == 429 then
    res.headers["retry-after"] = tostring(retry_after)
  end
  return res
end

--- For calls that only look.
--- @param permission string
--- @return buntime.Middleware
function M.read(permission)
  return function(c, next)
    local ok, status, code, message, _, retry_after = auth.check(c.req, permission)
    if not ok then
      return refusal(c, status, code, message, retry_after)
    end
    return next()
  end
end

--- Keeps the traceback, which ends here, in the message.
local function keep_trace(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- How a call ended, by what was answered.
local function result_of(status)
  if status == 207 then
    return "partial"
  end
  return status < 300 and "ok" or "failed"
end

--- For calls that change something. Each writes one line, those that were refused too. Its `result` is
--- "ok", "partial" (some plugins did not come through), "failed" or "refused", with the code that was
--- answered; "unknown" when the caller went before the answer, or the control plane broke.
--- @param permission string
--- @param action string What the record calls it: "plugins.reload".
--- @return buntime.Middleware
function M.change(permission, action)
  return function(c, next)
    local target = c.req:param("name") or "*"
    local ok, status, code, message, who, retry_after = auth.check(c.req, permission, true)
    if not ok then
      control.audit(who, action, target, "refused", code)
      return refusal(c, status, code, message, retry_after)
    end
    local principal = status -- its second result when it lets through
    local done, res = xpcall(next, keep_trace)
    if not done then
      control.audit(principal, action, target, "unknown")
      error(res, 0)
    end
    control.audit(principal, action, target, result_of(res.status), c.var.code)
    return res
  end
end

--- An answer in the error shape, whose code gets into the record.
--- @param c buntime.Context
--- @param status integer
--- @param code string
--- @param message string
--- @return buntime.Response
function M.fail(c, status, code, message)
  c.var.code = code
  return response.error(status, code, message, c.req.id)
end

return M
