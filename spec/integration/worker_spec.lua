-- Worker processes: the shapes of an app, a VM for each request and one that stays, and how processes end.

local lfs = require("lfs")
local socket = require("socket")

local apps = require("spec.support.apps")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local app, ended, workers_of = apps.app, apps.ended, apps.workers

local FETCH = [[
local count = 0
return {
  fetch = function(req)
    count = count + 1
    if req.path == "/nothing" then return nil end
    if req.path == "/leak" then
      rawset(_G, "leaked", (leaked or 0) + 1)
      return { leaked = leaked }
    end
    if req.path == "/env" then
      local env = {}
      for _, name in ipairs({ "APP_DIR", "ENTRYPOINT", "WORKER_ID", "RUNTIME_API_URL", "TMPDIR",
        "HELLO", "PATH", "RUNTIME_PLUGIN_DIRS" }) do
        env[name] = buntime.env[name]
      end
      return env
    end
    if req.path == "/echo" then
      return { method = req.method, path = req.path, query = req.query, body = req.body,
        id = req.id, ip = req.ip, header = req.headers["x-own"] }
    end
    if req.path == "/status" then return 201, "made" end
    if req.path == "/tmp" then
      local path = buntime.env.TMPDIR .. "/note"
      local file = assert(io.open(path, "w"))
      file:write("kept")
      file:close()
      return path
    end
    return { count = count }
  end,
}
]]

local ROUTES = [[
return {
  routes = {
    ["/plain"] = function(c) return c:text("plain") end,
    ["/only"] = { POST = function(c) return c:json(c.req:json()) end },
  },
  fetch = function(req) return "fetch " .. req.path end,
}
]]

local ROUTER = [[
local Router = require("buntime.router")
local routes, count = Router.new(), 0
routes:get("/count", function(c)
  count = count + 1
  return c:json({ count = count, worker = buntime.env.WORKER_ID })
end)
routes:get("/items/:id", function(c) return c:text(c.req:param("id")) end)
routes:get("/ws", function(c) return c:text("no") end)
routes:ws("/socket", { message = function() end })
routes:get("/cron", function() require("buntime.cron").schedule("@daily", print) end)
routes:get("/slow", function(c)
  buntime.sleep(tonumber(c.req:query("s")))
  return c:json({ worker = buntime.env.WORKER_ID })
end)
routes:get("/log", function(c) require("buntime.log").info("said by the app", { n = 1 }) return "ok" end)
return routes
]]

local LIFE = [[
local log = require("buntime.log")
return {
  fetch = function(req) return { worker = buntime.env.WORKER_ID } end,
  onIdle = function() log.info("idle now") end,
  onTerminate = function() buntime.sleep(0.01) log.info("terminating " .. buntime.env.WORKER_ID) end,
}
]]

local WARM = "ttl: 1h\n"

local function start(plugins, env)
  env = env or {}
  env.RUNTIME_LOG_LEVEL = env.RUNTIME_LOG_LEVEL or "debug"
  return server.start({ plugins = plugins, env = env })
end

describe("a worker", function()
  after_each(server.stop_all)

  it("runs fetch, in a new VM for each request", function()
    local s = start({ app = app("app", FETCH) })
    for _ = 1, 5 do
      assert.equal(1, s:get("/app/x"):json().count)
      assert.equal(1, s:get("/app/leak"):json().leaked)
    end
    assert.equal(404, s:get("/app/nothing").status)
    local res = s:get("/app/status")
    assert.equal(201, res.status)
    assert.equal("made", res.body)
    s:stop()
  end)

  it("sees the request as a plugin would", function()
    local s = start({ app = app("app", FETCH) })
    local res = s:request("PUT", "/app/echo?a=1&b", {
      body = "some body",
      headers = { ["X-Own"] = "mine", ["X-Request-Id"] = "given-id" },
    })
    assert.equal("given-id", res.headers["x-request-id"])
    assert.same({
      method = "PUT",
      path = "/echo",
      query = "a=1&b",
      body = "some body",
      id = "given-id",
      ip = "127.0.0.1",
      header = "mine",
    }, res:json())
    s:stop()
  end)

  it("has an environment of its own", function()
    local s = start({ app = app("app", FETCH, "env: { HELLO: world, WORKER_ID: mine, TMPDIR: /etc }\n") })
    local env = s:get("/app/env"):json()
    assert.matches("^/.*/plugins/app$", env.APP_DIR)
    assert.equal("index.lua", env.ENTRYPOINT)
    assert.equal("world", env.HELLO)
    assert.matches("^w%d+$", env.WORKER_ID)
    assert.equal("http://127.0.0.1:" .. s.port, env.RUNTIME_API_URL)
    assert.is_nil(env.PATH)
    assert.is_nil(env.RUNTIME_PLUGIN_DIRS)
    assert.not_equal("/etc", env.TMPDIR)
    s:stop()
  end)

  it("has a temporary folder that goes with it", function()
    local s = start({ app = app("app", FETCH) })
    local path = s:get("/app/tmp").body
    assert.equal("kept", process.read(path))
    s:stop()
    assert.is_nil(process.read(path))
    assert.is_nil(lfs.attributes(path:match("^(.*)/w%d+/note$")))
  end)

  it("runs a table of routes, and fetch for the rest", function()
    local s = start({ app = app("app", ROUTES) })
    assert.equal("plain", s:get("/app/plain").body)
    assert.same({ a = { 1 } }, s:post("/app/only", { json = { a = { 1 } } }):json())
    assert.equal(405, s:get("/app/only").status)
    assert.equal("fetch /other", s:get("/app/other").body)
    s:stop()
  end)

  it("runs a Router, and keeps its state when ttl is not 0", function()
    local s = start({ app = app("app", ROUTER, WARM) })
    assert.equal("a%20b", (s:get("/app/items/a%20b").body:gsub(" ", "%%20")))
    local first = s:get("/app/count"):json()
    for i = first.count + 1, 10 do
      local res = s:get("/app/count"):json()
      assert.equal(i, res.count)
      assert.equal(first.worker, res.worker)
    end
    assert.equal(404, s:get("/app/none").status)
    assert.equal(1, #workers_of(s))
    s:stop()
  end)

  it("says what makes no sense in it", function()
    local s = start({ app = app("app", ROUTER, WARM) })
    local res = s:get("/app/socket", {
      headers = {
        Upgrade = "websocket",
        Connection = "Upgrade",
        ["Sec-WebSocket-Version"] = "13",
        ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==",
      },
    })
    assert.equal(500, res.status)
    assert.matches("persistent plugin", res:json().message)
    res = s:get("/app/cron")
    assert.equal(500, res.status)
    assert.matches("persistent plugin", res:json().message)
    s:allow_errors("persistent plugin")
    s:stop()
  end)

  it("serves requests side by side when it is kept", function()
    local s = start({ app = app("app", ROUTER, WARM) })
    s:get("/app/count")
    local began = socket.gettime()
    local results = http.parallel(20, function()
      return s:get("/app/slow?s=0.5"):json().worker
    end)
    assert.is_true(socket.gettime() - began < 5)
    assert.equal(20, #results)
    s:stop()
  end)

  it("logs through the server, with the app's name and the request's id", function()
    local s = start({ app = app("app", ROUTER) })
    s:get("/app/log", { headers = { ["X-Request-Id"] = "the-id" } })
    local line = s:wait_log("said by the app")
    assert.equal("app", line.plugin)
    assert.equal("the-id", line.requestId)
    assert.equal(1, line.n)
    s:stop()
  end)

  it("stands behind the plugin's own routes", function()
    local files = app("both", FETCH)
    files["plugin.lua"] = [[
local routes = require("buntime.router").new()
routes:get("/own", function(c) return c:text("persistent") end)
return { routes = routes }
]]
    local s = start({ both = files })
    assert.equal("persistent", s:get("/both/own").body)
    assert.equal(1, s:get("/both/other"):json().count)
    s:stop()
  end)

  it("calls onIdle and onTerminate", function()
    local s = start({ app = app("app", LIFE, "ttl: 1h\nidleTimeout: 100ms\n") })
    local worker = s:get("/app/x"):json().worker
    assert.is_truthy(s:wait_log("idle now"))
    s.process:kill("TERM")
    assert.is_truthy(s:wait_log("terminating " .. worker, 20))
    assert.is_truthy(ended(s, "app", "shutdown"))
    s.process:wait(20)
    s:discard()
  end)

  it("ends when its ttl is over, which each request puts off", function()
    local s = start({ app = app("app", LIFE, "ttl: 1s\n") })
    local first = s:get("/app/x"):json().worker
    local began = socket.gettime()
    while socket.gettime() - began < 1.5 do
      socket.sleep(0.2)
      assert.equal(first, s:get("/app/x"):json().worker)
    end
    assert.is_truthy(ended(s, "app", "ttl"))
    assert.is_truthy(s:wait_log("terminating " .. first))
    assert.same({}, workers_of(s))
    assert.not_equal(first, s:get("/app/x"):json().worker)
    s:stop()
  end)

  it("is replaced after maxRequests", function()
    local s = start({ app = app("app", LIFE, "ttl: 1h\nmaxRequests: 3\n") })
    local seen, list = {}, {}
    for _ = 1, 9 do
      local worker = s:get("/app/x"):json().worker
      if not seen[worker] then
        seen[worker] = 0
        list[#list + 1] = worker
      end
      seen[worker] = seen[worker] + 1
    end
    assert.equal(3, #list)
    for _, worker in ipairs(list) do
      assert.equal(3, seen[worker])
    end
    assert.is_truthy(ended(s, "app", "maxRequests"))
    s:stop()
  end)

  it("makes room for another app when the pool is full", function()
    local plugins = {}
    for _, name in ipairs({ "one", "two", "three" }) do
      plugins[name] = app(name, LIFE, WARM)
    end
    local s = start(plugins, { RUNTIME_POOL_SIZE = "2" })
    for _ = 1, 2 do
      for _, name in ipairs({ "one", "two", "three" }) do
        assert.equal(200, s:get("/" .. name .. "/x").status)
        assert.is_true(#workers_of(s) <= 2)
      end
    end
    assert.is_truthy(ended(s, "one", "evicted"))
    s:stop()
  end)

  it("goes with its old code when a reload replaces it, and answers what it has", function()
    local s = start({ app = app("app", ROUTER, WARM) })
    local old = s:get("/app/count"):json().worker
    local results = http.parallel(2, function(i)
      if i == 1 then
        return s:get("/app/slow?s=1")
      end
      socket.sleep(0.3)
      s:write("app/index.lua", 'return { fetch = function() return "new" end }')
      return s:reload("changed=true")
    end)
    assert.equal(200, results[1].status)
    assert.equal(old, results[1]:json().worker)
    assert.equal(200, results[2].status)
    assert.equal("new", s:get("/app/any").body)
    assert.is_truthy(ended(s, "app", "replaced"))
    s:stop()
  end)

  it("leaves nothing behind when the server is killed", function()
    local tmp = process.temp_dir()
    local s = start({ app = app("app", ROUTER, WARM) }, { TMPDIR = tmp })
    s:get("/app/count")
    local folders = {}
    for name in lfs.dir(tmp) do
      folders[#folders + 1] = name:match("^buntime%-workers%-.*")
    end
    assert.equal(1, #folders)
    lfs.touch(tmp .. "/" .. folders[1], os.time() - 60)
    local pids = workers_of(s)
    assert.equal(1, #pids)
    local pid = s:pid()
    os.execute("kill -KILL " .. pid)
    assert.is_truthy(process.eventually(function()
      return not process.read(("/proc/%d/stat"):format(pids[1])) or
        process.read(("/proc/%d/stat"):format(pids[1])):find(") Z ", 1, true)
    end, 10))
    assert.is_truthy(process.eventually(function()
      return s:starts() == 2
    end, 20))
    assert.equal(200, s:get("/app/count").status)
    assert.is_truthy(process.eventually(function()
      return not lfs.attributes(tmp .. "/" .. folders[1])
    end, 10))
    s:allow_errors("the server process", "restart", "signal")
    s:stop()
    assert.is_true(lfs.rmdir(tmp))
  end)
end)
