--- /api/workers: the worker apps, enabling and disabling versions, removing.
---
--- An app's name is two segments: its scope and its name, "_" for no scope. The scope may come with or
--- without its "@". The version of a folder that says none is "latest".

local Router = require("buntime.router")
local access = require("buntime.api.access")
local awaitable = require("buntime.wait")
local control = require("buntime.core.control")
local packages = require("buntime.api.packages")
local replicas = require("buntime.api.replicas")
local workers = require("buntime.core.workers")

local fail = access.fail
local do_toggle, do_remove = awaitable(workers.toggle), awaitable(workers.remove)

local routes = Router.new()

--- The statuses of what can go wrong, by code; whatever else concerns the manifest is a 409.
local STATUS = {
  WORKER_NOT_FOUND = 404,
  BUILT_IN_WORKER_REMOVE_FORBIDDEN = 403,
  IO = 500,
  MANIFEST_NOT_WRITABLE = 500,
}

--- By outcome of the reload that follows a change.
local HTTP = { ok = 200, partial = 207, rejected = 409 }

--- @param c buntime.Context
--- @return string name "hello", "@acme/hello"
local function app_name(c)
  local scope, name = c.req:param("scope"), c.req:param("name")
  if scope == "_" then
    return name
  end
  return ("@%s/%s"):format(scope:gsub("^@", ""), name)
end

--- What the record says was changed: "@acme/hello@1.0.0".
local function target(c)
  local version = c.req:param("version")
  return app_name(c) .. (version and "@" .. version or "")
end

local looks = access.read("workers:read", target)

local function failed(c, message, code)
  local name = target(c)
  if code == "WORKER_NOT_FOUND" and name:find("^[%w@/._+-]+$") then
    message = ("there is no app %s"):format(name)
  end
  return fail(c, STATUS[code] or 409, code, message)
end

local function is_stopping(c)
  if control.status().stopping then
    return fail(c, 503, "SHUTTING_DOWN", "The server is shutting down")
  end
end

routes:get("/", access.read("workers:read"), function(c)
  return c:json(access.visible(c, workers.list()))
end)

routes:get("/:scope/:name", looks, function(c)
  local app, message, code = workers.get(app_name(c))
  if not app then
    return failed(c, message, code)
  end
  return c:json(app)
end)

--- A route that does something to the files, and then reloads what changed.
--- @param change fun(name: string, version: string?): true?, string?, string?
--- @param more table<string, any> What the answer says beside name and version.
local function changing(change, more)
  return function(c)
    local stopping = is_stopping(c)
    if stopping then
      return stopping
    end
    local name, version = app_name(c), c.req:param("version")
    local ok, message, code = change(name, version)
    if not ok then
      return failed(c, message, code)
    end
    local answer, outcome = replicas.reload({ changed = true })
    answer = access.reloaded(c, answer)
    local data = { name = name, version = version }
    for key, value in pairs(more) do
      data[key] = value
    end
    return c:json({ success = true, data = data, reload = answer }, HTTP[outcome])
  end
end

local function set_enabled(enabled)
  return changing(function(name, version)
    return do_toggle(name, version, enabled)
  end, { enabled = enabled })
end

local function guarded(permission, action)
  return access.change(permission, action, target)
end

local VERSION = "/:scope/:name/:version"

routes:post(VERSION .. "/enable", guarded("workers:restart", "workers.enable"), set_enabled(true))
routes:post(VERSION .. "/disable", guarded("workers:restart", "workers.disable"), set_enabled(false))

local removing = changing(do_remove, { removed = true })
routes:delete("/:scope/:name", guarded("workers:remove", "workers.remove"), removing)
routes:delete(VERSION, guarded("workers:remove", "workers.remove"), removing)

packages.add_worker_routes(routes)

return routes
