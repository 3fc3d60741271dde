--- Packages over HTTP: uploads of plugins and worker apps, rollback, removal.
---
--- runtime/bind/bind_packages.c does the work; here is in which order, and what is answered.

local access = require("buntime.api.access")
local awaitable = require("buntime.wait")
local control = require("buntime.core.control")
local json = require("buntime.json")
local packages = require("buntime.core.packages")
local replicas = require("buntime.api.replicas")
local response = require("buntime.response")
local timestamp = require("buntime.api.timestamp")

local M = {}

local fail = access.fail
local list_kept = awaitable(packages.kept)

--- The statuses of what is not the package's fault, by code; the rest is a 400.
local STATUS = {
  BODY_TOO_LARGE = 413,
  PLUGIN_NOT_FOUND = 404,
  VERSION_NOT_KEPT = 409,
  PACKAGE_FOLDER_TAKEN = 409,
  NO_EXTERNAL_DIR = 409,
  BUILT_IN_PLUGIN_REPLACE_FORBIDDEN = 403,
  BUILT_IN_PLUGIN_REMOVE_FORBIDDEN = 403,
  BUILT_IN_WORKER_REPLACE_FORBIDDEN = 403,
  BASE_CONFLICT = 409,
  DUPLICATE_PLUGIN = 409,
  DEPENDENCY_MISSING = 409,
  DEPENDENCY_UNAVAILABLE = 409,
  DEPENDENCY_CYCLE = 409,
  QUARANTINED = 409,
  IO = 500,
  STORAGE_FULL = 507,
}

local HTTP = { ok = 200, partial = 207 }

--- Ends the handler with an answer.
local function refuse(c, message, code)
  error(fail(c, STATUS[code] or 400, code, message), 0)
end

--- A step of an operation: `nil, message, code` becomes the answer.
local function step(c, method, ...)
  local done, message, code = awaitable(method)(...)
  if done == nil then
    refuse(c, message, code)
  end
  return done
end

local function keep_trace(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- Runs `f` with an operation that is closed whatever happens.
--- @param kind "plugin"|"app"
--- @param f fun(op: buntime.PackageOperation): buntime.Response
--- @return buntime.Response
local function operation(kind, f)
  local op = packages.open(kind)
  local ok, res = xpcall(f, keep_trace, op)
  op:close()
  if ok or type(res) == "table" then
    return res
  end
  error(res, 0)
end

local function check_running(c)
  if control.status().stopping then
    error(fail(c, 503, "SHUTTING_DOWN", "The server is shutting down"), 0)
  end
end

--- Whether a query parameter is set; "" counts as yes.
local YES = { ["true"] = true, ["1"] = true, [""] = true, ["false"] = false, ["0"] = false }

local function flag(c, name, default)
  local text = c.req:query(name)
  if text and YES[text] == nil then
    refuse(c, name .. " must be true or false", "INVALID_QUERY")
  elseif not text then
    return default
  end
  return YES[text]
end

--- Loads what has changed on the disk. The operation ends before other replicas are told: theirs may
--- just wait for this one.
local function reload(c, op, body)
  local answer, outcome = replicas.reload({ changed = true }, function()
    local own, how = awaitable(op.reload)(op)
    op:close()
    return own, how
  end)
  body.reload = access.reloaded(c, answer)
  return HTTP[outcome]
end

--- The plugin or app as an answer names it.
local function describe(done)
  return { name = done.name, version = done.version or json.null }
end

-- Uploads --------------------------------------------------------------------------------------------

--- What an answer calls each kind.
local NOUN = { plugin = "plugin", app = "worker" }

--- A handler that installs the package of the form's field `file`. Worker apps are loaded at once,
--- unless `reload=false`; plugins when `reload=true` says so.
--- @param kind "plugin"|"app"
--- @return fun(c: buntime.Context): buntime.Response
function M.upload(kind)
  return function(c)
    return operation(kind, function(op)
      check_running(c)
      local wanted = flag(c, "reload", kind == "app")
      local found = step(c, op.unpack, op, c.req)
      c.var.target = found.name
      local outside = access.outside(c, found.name)
      if outside then
        return outside
      end
      step(c, op.hold, op)
      step(c, op.check, op)
      local done = step(c, op.place, op)
      local item = describe(done)
      item.installedAt = timestamp(os.time())
      local body = { success = true, data = { [NOUN[kind]] = item } }
      return c:json(body, wanted and reload(c, op, body) or 200)
    end)
  end
end

-- Rollback and removal -------------------------------------------------------------------------------

--- Changes the plugin of the route, and loads what came of it.
--- @param method string Of the operation.
local function change(method)
  return function(c)
    return operation("plugin", function(op)
      check_running(c)
      step(c, op.hold, op)
      local done = step(c, op[method], op, c.req:param("name"), c.req:query("version"))
      local body = { success = true, data = describe(done) }
      return c:json(body, reload(c, op, body))
    end)
  end
end

--- The kept versions of a plugin, as GET /api/plugins/:name tells them; the newest first.
--- @param name string
--- @return { version: string, keptAt: string }[]
function M.kept(name)
  local list = json.array({})
  for i, item in ipairs(list_kept(name)) do
    list[i] = { version = item.version or json.null, keptAt = timestamp(item.kept) }
  end
  return list
end

-- Routes ---------------------------------------------------------------------------------------------

--- Refuses the other methods of a fixed word, which would else be a plugin's name.
--- @param routes buntime.Router
--- @param path string
--- @param allow string What the word allows: "OPTIONS, POST".
function M.fix(routes, path, allow)
  local others = {}
  for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE" }) do
    others[#others + 1] = not allow:find(method, 1, true) and method or nil
  end
  routes:on(others, path, { hidden = true }, function(c)
    local message = ("%s does not allow %s (it allows %s)"):format(c.req.path, c.req.method, allow)
    local res = response.error(405, "METHOD_NOT_ALLOWED", message, c.req.id)
    res.headers.allow = allow
    return res
  end)
  routes:options(path, { hidden = true }, function()
    return response.raw(204, { allow = allow })
  end)
end

--- Adds what concerns packages to the routes of /api/plugins.
--- @param routes buntime.Router
function M.add_plugin_routes(routes)
  routes:post("/upload", access.change("plugins:install", "plugins.upload"), M.upload("plugin"))
  M.fix(routes, "/upload", "OPTIONS, POST")
  routes:post("/:name/rollback", access.change("plugins:install", "plugins.rollback"), change("rollback"))
  routes:delete("/:name", access.change("plugins:remove", "plugins.remove"), change("remove"))
end

--- Adds what concerns packages to the routes of /api/workers.
--- @param routes buntime.Router
function M.add_worker_routes(routes)
  routes:post("/upload", access.change("workers:install", "workers.upload"), M.upload("app"))
  M.fix(routes, "/upload", "OPTIONS, POST")
end

return M
