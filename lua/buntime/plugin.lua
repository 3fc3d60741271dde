--- Brings a plugin's module to life: loads it, calls its factory and its lifecycle, and gives the
--- runtime one function for each thing that the module answers to.
---
--- Called by runtime/plugin/instance.c, once in each plugin's VM.

local request = require("buntime.core.request")
local pool = require("buntime.core.pool")
local service = require("buntime.core.service")
local auth = require("buntime.core.auth")
local sys = require("buntime.core.sys")
local Response = require("buntime.response")
local Router = require("buntime.router")
local log = require("buntime.log")
local awaitable = require("buntime.wait")

local M = {}

--- What an entry tells the runtime.
local NOT_MINE, GO_ON, ANSWERED = 0, 1, 2

local call = awaitable(service.call)
service.open(function(reference)
  return function(...)
    return call(reference, ...)
  end
end, call)

--- @param name string
--- @return any service nil if an optional dependency is absent, or provides nothing.
local function get_plugin(name)
  if type(name) ~= "string" then
    error(("getPlugin: a plugin's name expected, got %s"):format(type(name)), 2)
  end
  if not service.declared(name) then
    local line = ("getPlugin(%q): not declared; add `dependencies: [%q]` to manifest.yaml")
    error(line:format(name, name), 2)
  end
  return service.find(name)
end

--- Methods that change nothing; for others a page of another site is refused.
local SAFE = { GET = true, HEAD = true, OPTIONS = true }

--- A middleware for a plugin's own admin routes: only callers that the control plane would let do
--- `permission` get through.
--- @param permission string Such as "plugins:read".
local function require_permission(permission)
  if type(permission) ~= "string" then
    error(("auth.require: a permission expected, got %s"):format(type(permission)), 2)
  end
  return function(c, next)
    local ok, status, code, message, _, retry = auth.check(c.req, permission, not SAFE[c.req.method])
    if not ok then
      local body = { success = false, code = code, message = message, requestId = c.req.id }
      local headers = { ["cache-control"] = "no-store" }
      headers["www-authenticate"] = status == 401 and 'Bearer realm="buntime"' or nil
      headers["retry-after"] = status == 429 and retry or nil
      return Response.json(body, { status = status, headers = headers })
    end
    c.var.principal = status.principal -- its second result when it lets through
    return next()
  end
end

--- What is read from it is as of then; called, it gives all of it as a table.
local function live_pool()
  return setmetatable({}, {
    __index = function(_, key)
      return pool.stats()[key]
    end,
    __call = pool.stats,
    __newindex = function(_, key)
      error(("ctx.pool.%s cannot be set"):format(tostring(key)), 2)
    end,
  })
end

local function make_context(spec)
  return {
    config = spec.config,
    globalConfig = spec.globalConfig,
    logger = { debug = log.debug, info = log.info, warn = log.warn, error = log.error },
    getPlugin = get_plugin,
    runtime = { api = spec.api, version = sys.version },
    env = buntime.env,
    plugin = { name = spec.name, version = spec.version, dir = spec.dir, base = spec.base },
    auth = { require = require_permission },
    pool = live_pool(),
  }
end

--- @type { [1]: string, [2]: type[] }[] Fields of the module and what they may be.
local FIELDS = {
  { "routes", { "table" } },
  { "middleware", { "function", "table" } },
  { "server", { "table" } },
  { "websocket", { "table" } },
  { "provides", { "function" } },
  { "onInit", { "function" } },
  { "onShutdown", { "function" } },
  { "onServerStart", { "function" } },
  { "onRequest", { "function" } },
  { "onResponse", { "function" } },
  { "onRequestFailOpen", { "boolean" } },
  { "onRequestPublic", { "boolean" } },
  { "onWorkerSpawn", { "function" } },
  { "onWorkerTerminate", { "function" } },
}

local function is_one_of(kind, kinds)
  for _, name in ipairs(kinds) do
    if kind == name then
      return true
    end
  end
  return false
end

local function check_module(impl)
  if type(impl) ~= "table" then
    error(("the factory must return a table, got %s"):format(type(impl)), 0)
  end
  for _, field in ipairs(FIELDS) do
    local name, kinds = field[1], field[2]
    local kind = type(impl[name])
    if kind ~= "nil" and not is_one_of(kind, kinds) then
      local expected = table.concat(kinds, " or ")
      error(("the module's %s must be a %s, got %s"):format(name, expected, kind), 0)
    end
  end
  if impl.routes and not Router.is(impl.routes) then
    error("the module's routes must be a Router (require \"buntime.router\")", 0)
  end
end

--- Runs `handler(req)`; no response means that somebody else may answer.
local function answering(handler)
  local respond = request.respond
  return function(req)
    local response = handler(req)
    if response == nil then
      return NOT_MINE
    end
    respond(req, response)
    return ANSWERED
  end
end

local function routes_entry(impl)
  local routes, middleware = impl.routes, impl.middleware
  if not routes then
    return nil
  end
  if middleware then
    routes:surround(type(middleware) == "function" and { middleware } or middleware)
  end
  if impl.websocket then
    routes:sockets(impl.websocket)
  end
  local handle, respond = routes.handle, request.respond
  return function(req) -- as answering() has it, with one call less on the way of every request
    local response = handle(routes, req)
    if response == nil then
      return NOT_MINE
    end
    respond(req, response)
    return ANSWERED
  end
end

--- `server.routes` as a router of absolute paths; a table of methods is allowed for each path.
local function server_routes(server)
  if not server or not server.routes then
    return nil
  end
  local router, paths = Router.new(), {}
  for path, handler in pairs(server.routes) do
    if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
      error(("server.routes: %q is not an absolute path"):format(tostring(path)), 0)
    end
    paths[#paths + 1] = path
    if type(handler) == "table" then
      for method, fn in pairs(handler) do
        router:on(method, path, fn)
      end
    else
      router:all(path, handler)
    end
  end
  table.sort(paths)
  return router, paths
end

local function fetch_entry(server)
  local fetch = server and server.fetch
  if fetch == nil then
    return nil
  end
  if type(fetch) ~= "function" then
    error(("server.fetch must be a function, got %s"):format(type(fetch)), 0)
  end
  return answering(function(req)
    local value, body = fetch(req)
    if value == nil then
      return nil
    end
    return Response.from(value, body, "server.fetch")
  end)
end

local function request_hook(hook)
  return hook
    and function(req, app)
      local value = hook(req, app)
      if value == nil then
        return NOT_MINE
      end
      if request.is(value) then
        request.apply(value)
        return GO_ON
      end
      if type(value) ~= "table" or not Response.looks_like(value) then
        local message = "onRequest must return nothing, the request, or a response; got %s"
        error(message:format(type(value) == "table" and "a table without a status" or type(value)), 0)
      end
      request.respond(req, Response.from(value, nil, "onRequest"))
      return ANSWERED
    end
end

local function response_hook(hook)
  return hook
    and function(req, app)
      local view = request.response_view(req)
      local value = hook(view, app, req)
      request.apply_response(req, type(value) == "table" and value or view)
      return GO_ON
    end
end

--- The routes as JSON, for the control plane's description of the server; nil when they cannot be said so.
local function described(routes, router)
  local describe, json = require("buntime.describe"), require("buntime.json")
  local ok, text = pcall(json.encode, {
    routes = json.array(routes and describe.list(routes) or {}),
    server = json.array(router and describe.list(router) or {}),
  })
  package.loaded["buntime.describe"] = nil -- seldom needed again
  return ok and text or nil
end

local function load_module(spec)
  local chunk, message = loadfile(spec.entry)
  if not chunk then
    error(message, 0)
  end
  return chunk()
end

--- @param spec table Made by runtime/plugin/push.c.
--- @return table entries
function M.build(spec)
  local phase = spec.phase
  phase("load")
  local module = load_module(spec)
  phase("factory")
  local impl = module
  if type(module) == "function" then
    impl = module(spec.config)
  end
  check_module(impl)
  local router, paths = server_routes(impl.server)
  local entries = {
    routes = routes_entry(impl),
    serverRoutes = router and answering(function(req)
      return router:handle(req)
    end),
    serverPaths = paths,
    serverFetch = fetch_entry(impl.server),
    onRequest = request_hook(impl.onRequest),
    onResponse = response_hook(impl.onResponse),
    onServerStart = impl.onServerStart,
    onWorkerSpawn = impl.onWorkerSpawn,
    onWorkerTerminate = impl.onWorkerTerminate,
    onShutdown = impl.onShutdown,
    onRequestFailOpen = impl.onRequestFailOpen or false,
    onRequestPublic = impl.onRequestPublic or false,
  }
  phase("onInit")
  if impl.onInit then
    impl.onInit(make_context(spec))
  end
  phase("provides")
  if impl.provides then
    entries.provided = impl.provides()
  end
  entries.described = described(impl.routes, router)
  package.loaded["buntime.plugin"] = nil -- not needed again, and it holds memory
  return entries
end

return M
