--- Who may do what on the control plane, and the record of what was done.
---
--- Each is a middleware of one route: it lets through whom runtime/app/auth.c lets through, and leaves in
--- `c.var.caller` who that is. Permissions:
---
---   plugins:read     what there is: lists, one plugin, its configuration, its errors
---   plugins:install  which code runs: reloads, uploads, rollbacks
---   plugins:remove   taking it from the disk
---   plugins:config   how it is set up: enabling and disabling
---   workers:read, workers:install, workers:remove, workers:restart
---   keys:read, keys:create, keys:revoke
---   metrics:read
---
--- What concerns one plugin or app also needs its namespace. The name is the parameter `name` of the
--- route, or what `target` makes of the request. Where it is in the body, the handler asks
--- `access.outside` before it does anything.

local auth = require("buntime.core.auth")
local control = require("buntime.core.control")
local namespaces = require("buntime.api.namespaces")
local response = require("buntime.response")

local M = {}

--- For calls that concern everything there is: a `target` for read() and change().
function M.everything()
  return "*"
end

local function by_param(c)
  return c.req:param("name")
end

--- The answer to someone who is not let through.
--- @param c buntime.Context
--- @param status integer
--- @param code string
--- @param message string
--- @param retry_after? integer
--- @return buntime.Response
function M.refusal(c, status, code, message, retry_after)
  local res = response.error(status, code, message, c.req.id)
  if status == 401 then
    res.headers["www-authenticate"] = 'Bearer realm="buntime"'
  elseif status == 429 then
    res.headers["retry-after"] = tostring(retry_after)
  end
  return res
end

--- The answer when `name` is outside of the caller's namespaces, else nil. The record then says "refused".
---
---     local refused = access.outside(c, manifest.name)
---     if refused then return refused end
--- @param c buntime.Context Of a route behind read() or change().
--- @param name string
--- @return buntime.Response?
function M.outside(c, name)
  if namespaces.allow(c.var.caller.namespaces, name) then
    return nil
  end
  local message = "The key's namespaces do not include " .. (namespaces.of(name) or "names without a scope")
  c.var.refused = true
  return M.fail(c, 403, "NAMESPACE_DENIED", message)
end

--- Those items of a list whose name the caller may see; what has no name is nobody's secret.
--- @generic T: table
--- @param c buntime.Context
--- @param list T[] Marked as an array, as `json.array` does.
--- @param name? string The field that is the name; "name" unless told.
--- @return T[]
function M.visible(c, list, name)
  local kept = setmetatable({}, getmetatable(list))
  for _, item in ipairs(list) do
    local value = item[name or "name"]
    if not value or namespaces.allow(c.var.caller.namespaces, value) then
      kept[#kept + 1] = item
    end
  end
  return kept
end

--- The reload object with what the caller may see of it.
--- @param c buntime.Context
--- @param answer table
--- @return table answer
function M.reloaded(c, answer)
  answer.plugins, answer.leaks = M.visible(c, answer.plugins), M.visible(c, answer.leaks, "plugin")
  answer.apps = answer.apps and M.visible(c, answer.apps)
  for _, replica in ipairs(answer.replicas or {}) do
    replica.errors = M.visible(c, replica.errors)
  end
  return answer
end

--- Whether the caller may do what the permission names.
--- @param c buntime.Context
--- @param permission string
--- @return boolean
function M.may(c, permission)
  local caller = c.var.caller
  for _, held in ipairs(caller.permissions) do
    if held == permission then
      return true
    end
  end
  return caller.all == true
end

--- For calls that only look.
--- @param permission string
--- @param target? fun(c: buntime.Context): string? The name that the call is about.
--- @return buntime.Middleware
function M.read(permission, target)
  target = target or by_param
  return function(c, next)
    local ok, status, code, message, _, retry_after = auth.check(c.req, permission)
    if not ok then
      return M.refusal(c, status, code, message, retry_after)
    end
    c.var.caller = status -- its second result when it lets through
    local name = target(c)
    return name and M.outside(c, name) or next()
  end
end

--- Keeps the traceback, which ends here, in the message.
local function keep_trace(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- How a call ended, by what was answered.
local function result_of(c, status)
  if c.var.refused then
    return "refused"
  elseif status == 207 then
    return "partial"
  end
  return status < 300 and "ok" or "failed"
end

--- Writes the line. A handler may set `c.var.target` and `c.var.principal`, when only it knows them.
local function record(c, principal, action, name, result, code)
  local target = c.var.target or name or c.req:param("id") or "*"
  control.audit(c.var.principal or principal, action, target, result, code or c.var.code)
end

--- Runs what comes next, and records how it ended.
local function watched(c, next, principal, action, name)
  local done, res = xpcall(next, keep_trace)
  if not done then
    record(c, principal, action, name, "unknown")
    error(res, 0)
  end
  record(c, principal, action, name, result_of(c, res.status))
  return res
end

--- For calls that change something. Each writes one line, those that were refused too. Its `result` is
--- "ok", "partial" (some plugins did not come through), "failed" or "refused", with the code that was
--- answered; "unknown" when the caller went before the answer, or the control plane broke.
--- @param permission? string nil: everybody may, but not made to by another site.
--- @param action string What the record calls it: "plugins.reload".
--- @param target? fun(c: buntime.Context): string? The name that the call is about, and is recorded.
--- @return buntime.Middleware
function M.change(permission, action, target)
  target = target or by_param
  return function(c, next)
    local name = target(c)
    local ok, status, code, message, who, retry_after = auth.check(c.req, permission, true)
    if not ok then
      record(c, who, action, name, "refused", code)
      return M.refusal(c, status, code, message, retry_after)
    end
    local caller = status -- its second result when it lets through
    c.var.caller = caller
    return watched(c, function()
      return name and M.outside(c, name) or next()
    end, caller.principal, action, name)
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
