--- Routes: which handler answers which request, and the middleware around it.
---
---     local routes = Router.new()
---     routes:use(cors())
---     routes:get("/todos/:id{%d+}", function(c)
---       return c:json({ id = c.req:param("id") })
---     end)
---     routes:route("/admin", admin)
---
--- Static beats param beats wildcard, whatever the order. Middleware stands around the routes that are
--- added after it. Everything is put together when the first request comes.

local core = require("buntime.core.route")
local respond = require("buntime.core.request").respond
local later = require("buntime.later")
local blame = later("buntime.blame")
local context = require("buntime.context")
local response = require("buntime.response")
local websocket = later("buntime.websocket")
require("buntime.request") -- what c.req can do

local find, allow, depth, rewind = core.find, core.allow, core.depth, core.rewind
local new_context, settle = context.new, context.settle

--- @alias buntime.Handler fun(c: buntime.Context): any, any

--- @class buntime.Router
--- @field private _items table[]
--- @field private _parents table<buntime.Router, boolean>
--- @field private _around? buntime.Middleware[]
--- @field private _plan? table
--- @field private _sockets? buntime.WebSocketHandlers
--- @field private _not_found? buntime.Handler
--- @field private _on_error? fun(err: any, c: buntime.Context, traceback: string): any
local Router = {}

local meta = { __index = Router }

--- @class buntime.router
local M = { class = Router }

--- @return buntime.Router
function M.new()
  return setmetatable({ _items = {}, _parents = setmetatable({}, { __mode = "k" }) }, meta)
end

--- @return boolean
function M.is(value)
  return getmetatable(value) == meta
end

--- What was put together no longer holds, here and wherever this router is mounted.
local function touch(router)
  router._plan = nil
  for parent in pairs(router._parents) do
    touch(parent)
  end
end

local function add(router, item)
  local items = router._items
  items[#items + 1] = item
  touch(router)
  return router
end

-- Registering ----------------------------------------------------------------------------------------

local function misuse(what, problem, ...)
  blame.raise_outside(("router:%s: "):format(what) .. problem:format(...))
end

local function check_path(what, path)
  if type(path) ~= "string" then
    misuse(what, "path must be a string, got %s", type(path))
  elseif path == "*" then
    return "/*"
  elseif path:sub(1, 1) ~= "/" then
    misuse(what, "path must start with /, got %q", path)
  end
  local ok, message = core.add(core.new(), "GET", path, 0)
  if not ok then
    misuse(what, "%s", message)
  end
  return path
end

local function is_callable(value)
  local mt = type(value) == "table" and getmetatable(value)
  return type(value) == "function" or type(mt) == "table" and mt.__call ~= nil
end

local function check_functions(what, functions, count)
  if count == 0 then
    misuse(what, "a function is missing")
  end
  for i = 1, count do
    if not is_callable(functions[i]) then
      misuse(what, "expected a function, got %s", type(functions[i]))
    end
  end
end

local function check_method(what, method)
  if type(method) ~= "string" or not method:find("^[%a-]+$") then
    misuse(what, "method must be a word such as GET, got %s", tostring(method))
  end
  return method:upper()
end

--- The route's description, if the first of its functions is one.
local function take_doc(what, functions)
  local doc = functions[1]
  if type(doc) ~= "table" or is_callable(doc) then
    return nil
  end
  local problem = require("buntime.describe").check(doc)
  if problem then
    misuse(what, "%s", problem)
  end
  return table.remove(functions, 1)
end

local function add_route(router, what, methods, path, ...)
  local functions, count = { ... }, select("#", ...)
  path = check_path(what, path)
  local doc = take_doc(what, functions)
  count = doc and count - 1 or count
  check_functions(what, functions, count)
  local item = { kind = "route", path = path, before = functions, methods = methods, doc = doc }
  item.handler = table.remove(functions, count)
  return add(router, item)
end

--- Adds a route for one method or several.
--- @param method string|string[]
--- @param path string
--- @param ... buntime.RoutePart What the route says of itself, if anything, middleware of
---   this route alone, and last its handler.
--- @return buntime.Router self
function Router:on(method, path, ...)
  local methods = {}
  for i, name in ipairs(type(method) == "table" and method or { method }) do
    methods[i] = check_method("on", name)
  end
  if #methods == 0 then
    misuse("on", "method must be a string or a list of them, got %s", type(method))
  end
  return add_route(self, "on", methods, path, ...)
end

local function verb(what, method)
  local methods = { method }
  return function(self, path, ...)
    return add_route(self, what, methods, path, ...)
  end
end

--- @alias buntime.RoutePart buntime.RouteDescription|function
--- @alias buntime.Verb fun(self: buntime.Router, path: string, ...: buntime.RoutePart): buntime.Router

--- @type buntime.Verb
Router.get = verb("get", "GET")
--- @type buntime.Verb
Router.post = verb("post", "POST")
--- @type buntime.Verb
Router.put = verb("put", "PUT")
--- @type buntime.Verb
Router.patch = verb("patch", "PATCH")
--- @type buntime.Verb
Router.delete = verb("delete", "DELETE")
--- @type buntime.Verb
Router.head = verb("head", "HEAD")
--- @type buntime.Verb
Router.options = verb("options", "OPTIONS")
--- Adds a route for every method.
--- @type buntime.Verb
Router.all = verb("all", "")

--- Adds middleware around the routes that follow: all of them, or those at `path` and below.
--- @param path string|buntime.Middleware
--- @param ... buntime.Middleware
--- @return buntime.Router self
function Router:use(path, ...)
  local functions, count = { ... }, select("#", ...)
  if type(path) == "string" then
    path = check_path("use", path)
    if path:find("?", 1, true) then
      misuse("use", "a parameter cannot be optional here, got %q", path)
    end
  else
    functions, count = { path, ... }, count + 1
    path = "/*"
  end
  check_functions("use", functions, count)
  for i = 1, count do
    add(self, { kind = "use", path = path, fn = functions[i] })
  end
  return self
end

local function contains(router, wanted)
  if router == wanted then
    return true
  end
  for _, item in ipairs(router._items) do
    if item.kind == "mount" and contains(item.router, wanted) then
      return true
    end
  end
  return false
end

--- Mounts another router: its routes below `path`, its middleware around them.
--- @param path string
--- @param other buntime.Router
--- @return buntime.Router self
function Router:route(path, other)
  path = check_path("route", path)
  if not M.is(other) then
    misuse("route", "expected a router, got %s", type(other))
  elseif contains(other, self) then
    misuse("route", "a router cannot be mounted into itself")
  elseif path:find("*", 1, true) or path:find("?", 1, true) then
    misuse("route", "routes cannot be mounted below %q", path)
  end
  other._parents[self] = true
  return add(self, { kind = "mount", path = path, router = other })
end

--- Adds a WebSocket. A request that asks for none is answered 426.
--- @param path string
--- @param handlers? buntime.WebSocketHandlers Those of the plugin's `websocket` field when absent.
--- @param options? buntime.WebSocketOptions
--- @return buntime.Router self
function Router:ws(path, handlers, options)
  path = check_path("ws", path)
  if handlers ~= nil and type(handlers) ~= "table" then
    misuse("ws", "handlers must be a table, got %s", type(handlers))
  elseif options ~= nil and type(options) ~= "table" then
    misuse("ws", "options must be a table, got %s", type(options))
  end
  local problem = handlers and websocket.check_handlers(handlers)
  local limits, wrong = websocket.limits(options)
  if problem or wrong then
    misuse("ws", "%s", problem or wrong)
  end
  return add(self, { kind = "ws", path = path, handlers = handlers, limits = limits })
end

--- The handlers of sockets that have none of their own: a plugin's `websocket` field.
--- @param handlers buntime.WebSocketHandlers
--- @return buntime.Router self
function Router:sockets(handlers)
  local problem = websocket.check_handlers(handlers)
  if problem then
    error("websocket: " .. problem, 0)
  end
  self._sockets = handlers
  touch(self)
  return self
end

--- Puts middleware around everything of this router, also what was added before and mounted: a plugin's
--- `middleware` field.
--- @param chain buntime.Middleware[] Outermost first.
--- @return buntime.Router self
function Router:surround(chain)
  check_functions("surround", chain, #chain)
  self._around = chain
  touch(self)
  return self
end

--- Answers what no route of this router matches, 404 unless the handler says otherwise. Without it such
--- requests are for the next layer to answer.
--- @param handler buntime.Handler
--- @return buntime.Router self
function Router:not_found(handler)
  check_functions("not_found", { handler }, 1)
  self._not_found = handler
  touch(self)
  return self
end

--- Answers for errors that handlers and middleware of this router raise. Returning nil leaves the error to
--- whoever is outside.
--- @param handler fun(err: any, c: buntime.Context, traceback: string): any, any
--- @return buntime.Router self
function Router:on_error(handler)
  check_functions("on_error", { handler }, 1)
  self._on_error = handler
  touch(self)
  return self
end

-- Putting together -----------------------------------------------------------------------------------

local function join(prefix, path)
  if prefix == "/" or prefix == "" then
    return path
  end
  return path == "/" and prefix or prefix .. path
end

local function keep_trace(err)
  local text = type(err) == "string" and err or type(err) == "table" and tostring(err) or "error"
  return { err = err, trace = debug.traceback(text, 2) }
end

--- `run` with the router's `on_error` around it.
local function guard(run, on_error)
  return function(c)
    local ok, res = xpcall(run, keep_trace, c)
    if ok then
      return res
    end
    local err = res.err
    c.res = nil
    local value, more = on_error(err, c, res.trace)
    if value ~= nil or c.res then
      return settle(c, on_error, value, more)
    end
    local answer = context.answer_error(c, err)
    if answer then
      return answer
    end
    error(err, 0)
  end
end

--- A middleware that has to look at the request first: its path may or may not cover this route's, or its
--- parameters have other names. It sees its own parameters, the rest of the chain those of the route.
local function conditional(use)
  local tree, fn = use.tree, use.fn
  return function(c, next)
    local req = c.req
    local before = depth(req)
    if not find(tree, req, "GET") then
      return next() and nil
    end
    local value, more = fn(c, function()
      rewind(req, before)
      next()
      find(tree, req, "GET")
      return c.res
    end)
    rewind(req, before)
    return value, more
  end
end

--- The tree that tells whether a path is at a middleware's path or below it.
local function prefix_tree(path)
  local tree = core.new()
  local below = path:match("^(.*)/%*$") or path
  core.add(tree, "", below == "" and "/" or below, 0)
  core.add(tree, "", (below == "/" and "" or below) .. "/*", 0)
  return tree
end

--- The middleware of one level that stands around `path`.
local function around(uses, path)
  local chain = {}
  for _, use in ipairs(uses) do
    local verdict = require("buntime.overlap")(use.path, path)
    if verdict == "always" then
      chain[#chain + 1] = use.fn
    elseif verdict == "maybe" then
      use.tree = use.tree or prefix_tree(use.path)
      chain[#chain + 1] = conditional(use)
    end
  end
  return chain
end

local function wrap(run, chain)
  return #chain == 0 and run or require("buntime.compose")(chain, run, context.settle_middleware)
end

--- `run` with the middleware and error handlers of every level around it, this one's innermost.
local function with_levels(run, path, level)
  while level do
    run = wrap(run, around(level.uses, path))
    if level.router._on_error then
      run = guard(run, level.router._on_error)
    end
    level = level.outer
  end
  return run
end

local function copy(list)
  local out = {}
  for i, value in ipairs(list) do
    out[i] = value
  end
  return out
end

--- A record of a place where requests can end: a route, or a not_found.
local function place(plan, name, path, level, run, handler)
  local record = { name = name, not_found = level.not_found, handler = handler }
  record.run = with_levels(run, path, level)
  --- What answers OPTIONS when no route does: the same middleware, so that CORS works.
  record.options = function(c, methods)
    local chain = with_levels(function()
      return response.raw(204, { allow = methods })
    end, path, level)
    return chain(c)
  end
  plan.records[#plan.records + 1] = record
  return #plan.records - 1
end

local function handler_of(item)
  local handler = item.handler
  local function run(c)
    return settle(c, handler, handler(c))
  end
  return wrap(run, item.before)
end

local function plan_route(plan, item, path, level)
  local run = handler_of(item)
  for _, method in ipairs(item.methods) do
    local name = (method == "" and "ALL" or method) .. " " .. path
    local index = place(plan, name, path, level, run, item.handler)
    assert(core.add(plan.tree, method, path, index, true))
  end
end

local function plan_ws(plan, item, path, level)
  local handlers = item.handlers or plan.router._sockets
  local function run(c)
    if not handlers then
      error(("routes:ws(%q) has no handlers, and the plugin has no `websocket`"):format(item.path), 0)
    end
    return settle(c, run, websocket.upgrade(c, handlers, item.limits))
  end
  local index = place(plan, "WS " .. path, path, level, run)
  plan.sockets[#plan.sockets + 1] = { path = path, index = index }
end

local function not_found_of(handler)
  return function(c)
    c._status = 404
    return settle(c, handler, handler(c))
  end
end

local function plan_not_found(plan, router, prefix, level)
  local path = join(prefix, "/*")
  local index = place(plan, "not_found " .. path, path, level, level.not_found, router._not_found)
  plan.records[index + 1].not_found = nil
  assert(core.add(plan.rest, "", path, index, true))
  if prefix ~= "" then
    assert(core.add(plan.rest, "", prefix, index, true))
  end
end

--- Writes a router's routes into the plan, and those of the routers mounted in it.
local function flatten(plan, router, prefix, outer)
  local not_found = router._not_found and not_found_of(router._not_found) or outer and outer.not_found
  local uses = {}
  for i, fn in ipairs(router._around or {}) do
    uses[i] = { path = join(prefix, "/*"), fn = fn }
  end
  local level = { router = router, outer = outer, uses = uses, not_found = not_found }
  for _, item in ipairs(router._items) do
    local path = join(prefix, item.path)
    if item.kind == "use" then
      uses = copy(uses)
      uses[#uses + 1] = { path = path, fn = item.fn }
      level = { router = router, outer = outer, uses = uses, not_found = not_found }
    elseif item.kind == "mount" then
      flatten(plan, item.router, path == "/" and "" or path, level)
    elseif item.kind == "ws" then
      plan_ws(plan, item, path, level)
    else
      plan_route(plan, item, path, level)
    end
  end
  if router._not_found then
    plan_not_found(plan, router, prefix, level)
  end
end

local function compile(router)
  local plan = { router = router, tree = core.new(), rest = core.new(), records = {}, sockets = {} }
  flatten(plan, router, "", nil)
  -- Last, so that a GET route of the same path goes first.
  for _, socket in ipairs(plan.sockets) do
    assert(core.add(plan.tree, "GET", socket.path, socket.index, true))
  end
  router._plan = plan
  return plan
end

-- Answering ------------------------------------------------------------------------------------------

--- The record of the route that a preflight is about, else of any that the path has.
local function record_of(plan, req, methods)
  local wanted = req:header("access-control-request-method")
  local index = wanted and find(plan.tree, req, wanted:upper())
  for method in methods:gmatch("[^, ]+") do
    index = index or find(plan.tree, req, method)
  end
  return index and plan.records[index + 1]
end

local function other_method(plan, req)
  local methods = allow(plan.tree, req)
  if req.method == "OPTIONS" then
    local record = record_of(plan, req, methods)
    if record then
      return record.options(new_context(req, record), methods)
    end
    return response.raw(204, { allow = methods })
  end
  local message = ("%s does not allow %s (it allows %s)"):format(req.path, req.method, methods)
  local res = response.error(405, "METHOD_NOT_ALLOWED", message, req.id)
  res.headers.allow = methods
  return res
end

local function unmatched(plan, req, index)
  if index == false then
    return other_method(plan, req)
  end
  index = find(plan.rest, req)
  if not index then
    return nil
  end
  local record = plan.records[index + 1]
  return record.run(new_context(req, record))
end

--- Puts everything together now, so that the first request need not wait for it. For buntime.app.
--- @private
--- @return buntime.Router self
function Router:_prepare()
  self._plan = self._plan or compile(self)
  return self
end

--- Answers a request.
--- @param req buntime.Request
--- @return buntime.Response? response nil: no route matched, so it is for somebody else.
function Router:handle(req)
  local plan = self._plan or compile(self)
  local index = find(plan.tree, req)
  if not index then
    return unmatched(plan, req, index)
  end
  local record = plan.records[index + 1]
  return record.run(new_context(req, record))
end

--- Answers a request and hands the response over.
--- @param req buntime.Request
--- @return boolean answered
function Router:dispatch(req)
  local res = self:handle(req)
  if not res then
    return false
  end
  respond(req, res)
  return true
end

--- Answers a made-up request without a socket, for tests.
---
---     local res = routes:request("/todos", { method = "POST", json = { title = "x" } })
---     assert.equal(201, res.status)
--- @param path string With the query.
--- @param init? buntime.TestRequest
--- @return buntime.TestResponse
function Router:request(path, init)
  return require("buntime.testing").request(self, path, init)
end

return M
