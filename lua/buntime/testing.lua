--- Tests of plugins without a server.
---
---     local testing = require("buntime.testing")
---     local plugin = require("plugin")({ greeting = "Hello" })
---     plugin.onInit(testing.context({ plugins = { ["@acme/db"] = fake_db } }))
---     local res = plugin.routes:request("/api/greeting")
---     assert.equal("Hello", res:json().message)

local core = require("buntime.core.request")
local blame = require("buntime.blame")
local errors = require("buntime.error")
local json = require("buntime.core.json")
local context = require("buntime.context")
local response = require("buntime.response")
local finish = require("buntime.wait")(core.finish)

--- @class buntime.testing
local M = {}

-- Requests -------------------------------------------------------------------------------------------

--- @class buntime.TestRequest
--- @field method? string "GET" unless told; "POST" with a body.
--- @field headers? table<string, string|number|(string|number)[]>
--- @field body? string
--- @field json? any Encoded as the body, with its content type.
--- @field ip? string "127.0.0.1" unless told.
--- @field id? string
--- @field chunks? integer Of a stream: after so many the client goes.

--- @class buntime.TestResponse: buntime.Response
--- @field error? any What a handler raised; the status is then 500.
--- @field traceback? string

local KNOWN = { method = true, headers = true, body = true, json = true, ip = true, id = true, chunks = true }

local function check_init(init)
  if type(init) ~= "table" then
    blame.raise_outside(("request: the second argument must be a table, got %s"):format(type(init)))
  end
  for key in pairs(init) do
    if not KNOWN[key] then
      local problem = "request: %q is not known (known: method, headers, body, json, ip, id, chunks)"
      blame.raise_outside(problem:format(tostring(key)))
    end
  end
end

--- Headers as C takes them: { name, value, name, value, … }.
local function flat_headers(init)
  local ok, headers = pcall(response.add_headers, {}, init.headers or {})
  if not ok then
    blame.raise_outside("request: " .. headers)
  end
  if init.json ~= nil and not headers["content-type"] then
    headers["content-type"] = "application/json"
  end
  local flat = {}
  for name, value in pairs(headers) do
    for _, item in ipairs(type(value) == "table" and value or { value }) do
      flat[#flat + 1] = name
      flat[#flat + 1] = item
    end
  end
  return flat
end

--- Makes a request as the server would.
---
---     local req = testing.new_request("/todos?done=1", { method = "POST", json = { title = "x" } })
--- @param target string A path, with the query if there is one.
--- @param init? buntime.TestRequest
--- @return buntime.Request? request nil when the server would refuse the path.
function M.new_request(target, init)
  init = init or {}
  if type(target) ~= "string" then
    blame.raise_outside(("request: path must be a string, got %s"):format(type(target)))
  end
  check_init(init)
  local body = init.json ~= nil and json.encode(init.json) or init.body
  local method = init.method and init.method:upper() or body and "POST" or "GET"
  return core.new(method, target, body, flat_headers(init), init.ip, init.id, init.chunks)
end

local function keep_trace(err)
  return { err = err, trace = debug.traceback(type(err) == "string" and err or "", 2) }
end

--- What the server answers when a handler raises.
local function failure(req, kept)
  local known = context.answer_error({ req = req }, kept.err)
  if known then
    return known
  end
  local message = type(kept.err) == "string" and kept.err or tostring(kept.err)
  local body = errors.body("INTERNAL_SERVER_ERROR", message, req.id, kept.trace)
  return response.raw(500, { ["content-type"] = "application/json" }, body)
end

local function refused()
  local body = errors.body("BAD_REQUEST", "the path is not one that the server accepts")
  return response.raw(400, { ["content-type"] = "application/json" }, body)
end

--- Answers a made-up request as the server would: no route is a 404, an error a 500 (and in `res.error`).
--- @param routes buntime.Router
--- @param target string
--- @param init? buntime.TestRequest
--- @return buntime.TestResponse
function M.request(routes, target, init)
  local req = M.new_request(target, init)
  if not req then
    return refused()
  end
  local ok, res = xpcall(function()
    local answer = routes:handle(req)
    core.respond(req, answer or response.error(404, "NOT_FOUND", "Not Found", req.id))
  end, keep_trace)
  if not ok then
    core.respond(req, failure(req, res))
  end
  finish(req)
  local view = core.response_view(req)
  local failed, problem = core.stream_error(req)
  if not ok then
    view.error, view.traceback = res.err, res.trace
  elseif failed then
    view.error = problem
  end
  return view
end

-- Context --------------------------------------------------------------------------------------------

--- @class buntime.TestContextOptions
--- @field config? table
--- @field plugins? table<string, any> What `getPlugin` yields; false for an optional one that is absent.
--- @field env? table<string, string> The environment; the real one when absent.
--- @field plugin? table `name`, `version`, `dir`, `base`.
--- @field permissions? string[] What `auth.require` lets through; everything when absent.
--- @field globalConfig? table
--- @field pool? table<string, integer> What of `ctx.pool` is not 0.

--- @class buntime.TestLogLine
--- @field level "debug"|"info"|"warn"|"error"
--- @field message string
--- @field fields? table

local function new_logger()
  local lines = {}
  local logger = { lines = lines }
  for _, level in ipairs({ "debug", "info", "warn", "error" }) do
    logger[level] = function(message, fields)
      if fields ~= nil and type(fields) ~= "table" then
        local problem = "log.%s: argument 2 (fields) must be a table, got %s"
        error(problem:format(level, type(fields)), 2)
      end
      lines[#lines + 1] = { level = level, message = tostring(message), fields = fields }
    end
  end
  return logger
end

local function plugin_getter(plugins)
  return function(name)
    local service = plugins[name]
    if service == nil then
      local problem = 'plugin %q is not declared: add it to `dependencies` or `optionalDependencies` in '
        .. 'manifest.yaml, and to `plugins` of testing.context: dependencies: ["%s"]'
      error(problem:format(tostring(name), tostring(name)), 2)
    end
    return service or nil
  end
end

local function auth(permissions)
  local granted = {}
  for _, permission in ipairs(permissions or {}) do
    granted[permission] = true
  end
  return {
    require = function(permission)
      return function(c, next)
        if permissions and not granted[permission] then
          local message = ("the permission %s is needed"):format(permission)
          return response.error(403, "PERMISSION_DENIED", message, c.req.id)
        end
        c.var.principal = "root"
        next()
      end
    end,
  }
end

local function environment(env)
  return setmetatable({}, {
    __index = env or require("buntime").env,
    __newindex = function()
      error("buntime.env is read-only", 2)
    end,
  })
end

local POOL_FIELDS = {
  "size",
  "workers",
  "busy",
  "idle",
  "queued",
  "requests",
  "spawned",
  "terminated",
  "killed",
  "timeouts",
  "crashes",
  "rejected",
}

--- What `ctx.pool` is, with zeros for what `values` does not say.
local function fake_pool(values)
  local function read()
    local stats = {}
    for _, name in ipairs(POOL_FIELDS) do
      stats[name] = values and values[name] or 0
    end
    return stats
  end
  return setmetatable({}, {
    __call = read,
    __index = function(_, name)
      return read()[name]
    end,
  })
end

--- Makes the `ctx` that `onInit` gets.
---
---     local ctx = testing.context({ config = { ttl = 60 }, plugins = { ["@acme/db"] = fake_db } })
---     plugin.onInit(ctx)
---     assert.equal("ready", ctx.logger.lines[1].message)
--- @param options? buntime.TestContextOptions
--- @return table ctx
function M.context(options)
  options = options or {}
  local plugin = options.plugin or {}
  return {
    config = options.config or {},
    globalConfig = options.globalConfig or { poolSize = 0, pluginDirs = {}, workerDirs = {} },
    logger = new_logger(),
    getPlugin = plugin_getter(options.plugins or {}),
    runtime = { api = "/api", version = require("buntime").version },
    env = environment(options.env),
    plugin = {
      name = plugin.name or "test",
      version = plugin.version or "0.0.0",
      dir = plugin.dir or ".",
      base = plugin.base,
    },
    auth = auth(options.permissions),
    pool = fake_pool(options.pool),
  }
end

--- Takes the clock into the test's hand, see buntime.testing_clock.
--- @param at? number What it shows at first, in seconds since 1970; the real time unless told.
--- @return buntime.TestClock
function M.clock(at)
  return require("buntime.testing_clock").new(at)
end

return M
