--- Brings the module of a worker app to life: loads `index.lua` and gives the worker process one function
--- for each thing that the module answers to.
---
--- Called by runtime/app/worker_vm.c, once in each VM, and with ttl 0 that is once a request: nothing is
--- required here before it is used.

local request = require("buntime.core.request")

local M = {}

--- What an entry tells the runtime.
local NOT_MINE, ANSWERED = 0, 2

local function check_function(module, name)
  local kind = type(module[name])
  if kind ~= "nil" and kind ~= "function" then
    error(("the module's %s must be a function, got %s"):format(name, kind), 0)
  end
  return module[name]
end

local function fetch_entry(fetch)
  local Response = require("buntime.response")
  require("buntime.request") -- what req can do
  local respond, from, meta = request.respond, Response.from, Response.meta
  return function(req)
    local value, body = fetch(req)
    if value == nil then
      return NOT_MINE
    elseif getmetatable(value) ~= meta then
      value = from(value, body, "fetch")
    end
    respond(req, value)
    return ANSWERED
  end
end

local function router_entry(router)
  local respond, handle = request.respond, router:_prepare().handle
  return function(req)
    local response = handle(router, req)
    if response == nil then
      return NOT_MINE
    end
    respond(req, response)
    return ANSWERED
  end
end

--- `routes` as a table of paths; each has a handler, or a handler for each method.
local function router_of(routes)
  local Router = require("buntime.router")
  if Router.is(routes) then
    return routes
  end
  local router = Router.new()
  for path, handler in pairs(routes) do
    if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
      error(("routes: %q is not a path that starts with /"):format(tostring(path)), 0)
    end
    if type(handler) == "table" then
      for method, fn in pairs(handler) do
        router:on(method, path, fn)
      end
    else
      router:all(path, handler)
    end
  end
  return router
end

local function is_router(module)
  local Router = package.loaded["buntime.router"] -- where nobody required it there is none
  return Router and Router.is(module)
end

--- The routes first, and `fetch` for what none of them matches.
local function entry_of(module)
  local routes, fetch = module.routes, check_function(module, "fetch")
  if routes ~= nil and type(routes) ~= "table" then
    error(("the module's routes must be a Router or a table, got %s"):format(type(routes)), 0)
  elseif not routes and not fetch then
    error("index.lua must return { fetch = function }, { routes = … } or a Router", 0)
  end
  local first, second = routes and router_entry(router_of(routes)), fetch and fetch_entry(fetch)
  if not first or not second then
    return first or second
  end
  return function(req)
    local result = first(req)
    return result == NOT_MINE and second(req) or result
  end
end

local function check_module(module)
  if type(module) ~= "table" then
    error(("index.lua must return a table, got %s"):format(type(module)), 0)
  end
  return module
end

--- @param path string The entry file.
--- @param code? string What an earlier VM of the process has compiled it to.
--- @return string code
--- @return function answer Called with each request.
--- @return function? onIdle
--- @return function? onTerminate
function M.load(path, code)
  local chunk, message
  if code then
    chunk, message = loadstring(code, "@" .. path)
  else
    chunk, message = loadfile(path)
  end
  if not chunk then
    error(message, 0)
  end
  code = code or string.dump(chunk)
  local module = check_module(chunk())
  if is_router(module) then
    return code, router_entry(module)
  end
  return code, entry_of(module), check_function(module, "onIdle"), check_function(module, "onTerminate")
end

return M
