--- /api/plugins: what there is, reloading, enabling and disabling.

local Router = require("buntime.router")
local access = require("buntime.api.access")
local awaitable = require("buntime.wait")
local control = require("buntime.core.control")
local packages = require("buntime.api.packages")
local replicas = require("buntime.api.replicas")
local timestamp = require("buntime.api.timestamp")

local fail = access.fail
local do_toggle = awaitable(control.toggle)
local looks = access.read("plugins:read")

local routes = Router.new()

--- The statuses of what can go wrong, by code; whatever else concerns the manifest is a 409.
local STATUS = { PLUGIN_NOT_FOUND = 404, IO = 500, MANIFEST_NOT_WRITABLE = 500 }

local function failed(c, message, code)
  local name = c.req:param("name")
  if code == "PLUGIN_NOT_FOUND" and name:find("^[%w@/._-]+$") then
    message = ("there is no plugin named %s"):format(name)
  end
  return fail(c, STATUS[code] or 409, code, message)
end

-- Looking --------------------------------------------------------------------------------------------

--- A route that answers with what `ask` says of a plugin.
--- @param ask fun(name: string): any, string?, string?
local function about(ask)
  return function(c)
    local value, message, code = ask(c.req:param("name"))
    if value == nil then
      return failed(c, message, code)
    end
    return c:json(value)
  end
end

routes:get("/", looks, function(c)
  return c:json(access.visible(c, control.plugins()))
end)

routes:get("/loaded", looks, function(c)
  return c:json(access.visible(c, control.loaded()))
end)

routes:get(
  "/:name",
  looks,
  about(function(name)
    local details, message, code = control.plugin(name)
    if details then
      details.versions = packages.kept(name)
    end
    return details, message, code
  end)
)

routes:get("/:name/config", looks, about(control.config))

routes:get(
  "/:name/errors",
  looks,
  about(function(name)
    local list, message, code = control.errors(name)
    for _, fault in ipairs(list or {}) do
      fault.first, fault.last = timestamp(fault.first), timestamp(fault.last)
    end
    return list, message, code
  end)
)

-- Reloading ------------------------------------------------------------------------------------------

local FLAGS = { "changed", "strict", "dry_run" }
local YES = { ["true"] = true, ["1"] = true, [""] = true }
local NO = { ["false"] = true, ["0"] = true }

--- @return table<string, boolean>? flags, string? message
local function read_flags(c)
  local flags = {}
  for _, name in ipairs(FLAGS) do
    local text = c.req:query(name)
    if text and not YES[text] and not NO[text] then
      return nil, name .. " must be true or false"
    end
    flags[name] = text ~= nil and YES[text] == true
  end
  return flags
end

--- By outcome. "unknown" is answered as an error.
local HTTP = { ok = 200, partial = 207, rejected = 409 }

--- What a reload did to what the caller may see.
local function tell(c, answer, outcome)
  return access.reloaded(c, answer), HTTP[outcome]
end

local function is_stopping(c)
  if control.status().stopping then
    return fail(c, 503, "SHUTTING_DOWN", "The server is shutting down")
  end
end

local function reload(c)
  local flags, message = read_flags(c)
  if not flags then
    return fail(c, 400, "INVALID_QUERY", message)
  end
  local stopping = is_stopping(c)
  if stopping then
    return stopping
  end
  flags.only = c.req:param("name")
  local answer, outcome = replicas.reload(flags)
  if outcome == "unknown" then
    return failed(c, "there is no plugin of that name", "PLUGIN_NOT_FOUND")
  elseif outcome == "rejected" then
    c.var.code = "RELOAD_REJECTED"
  end
  return c:json(tell(c, answer, outcome))
end

routes:post("/reload", access.change("plugins:install", "plugins.reload", access.everything), reload)
routes:post("/:name/reload", access.change("plugins:install", "plugins.reload"), reload)

packages.fix(routes, "/reload", "OPTIONS, POST")
packages.fix(routes, "/loaded", "GET, HEAD, OPTIONS")

-- Enabling -------------------------------------------------------------------------------------------

local function set_enabled(enabled)
  return function(c)
    local stopping = is_stopping(c)
    if stopping then
      return stopping
    end
    local name = c.req:param("name")
    local ok, message, code = do_toggle(name, enabled)
    if not ok then
      return failed(c, message, code)
    end
    local answer, outcome = replicas.reload({ changed = true })
    local told, http = tell(c, answer, outcome)
    local body = { success = true, data = { name = name, enabled = enabled }, reload = told }
    return c:json(body, http)
  end
end

routes:post("/:name/enable", access.change("plugins:config", "plugins.enable"), set_enabled(true))
routes:post("/:name/disable", access.change("plugins:config", "plugins.disable"), set_enabled(false))

-- Packages -------------------------------------------------------------------------------------------

packages.add_plugin_routes(routes)

return routes
