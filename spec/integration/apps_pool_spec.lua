-- Worker apps with code: requests that go through processes, reloads, what hooks and the control plane tell.

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

--- Tells what it was asked; `mark` tells code apart.
local function echo(mark)
  return ([[
local routes = require("buntime.router").new()
routes:all("/what/*", function(c)
  return c:json({
    mark = %q,
    method = c.req.method,
    path = c.req.path,
    base = c.req:header("x-base"),
    q = c.req:query("q"),
    length = #c.req:text(),
    worker = buntime.env.WORKER_ID,
  })
end)
routes:get("/env", function(c)
  local env = {}
  for name in c.req:query("names"):gmatch("[^,]+") do
    env[name] = buntime.env[name]
  end
  return c:json(env)
end)
routes:get("/slow", function(c)
  buntime.sleep(tonumber(c.req:query("s")))
  return c:text(%q)
end)
return routes
]]):format(mark, mark)
end

--- Logs what becomes of processes, shows the pool, and says in a header who answers.
local WATCHER = [[
local log = require("buntime.log")
local routes = require("buntime.router").new()
local pool
routes:get("/pool", function(c)
  local all = pool()
  return c:json({ size = pool.size, workers = pool.workers, requests = pool.requests, all = all.size })
end)
local function tell(what)
  return function(worker, app)
    log.info(what, { id = worker.id, workerPid = worker.pid, reason = worker.reason,
                     app = app.name, kind = app.kind, version = app.version })
  end
end
return {
  routes = routes,
  onInit = function(ctx) pool = ctx.pool end,
  onResponse = function(res, app)
    res.headers["x-app"] = app and (app.name .. " " .. app.kind .. " " .. tostring(app.base)) or "nobody"
  end,
  onWorkerSpawn = tell("spawned"),
  onWorkerTerminate = tell("terminated"),
}
]]

local function start(files, options)
  options = options or {}
  options.files = files
  local watcher = fixtures.plugin("name: watcher\nbase: /watcher\n", WATCHER)
  options.plugins = options.plugins or { watcher = watcher }
  return server.start(options)
end

local function worker_of(s, path)
  local res = s:get(path)
  assert.equal(200, res.status, res.body)
  return res:json().worker
end

describe("apps in processes", function()
  after_each(server.stop_all)

  it("get requests without their base", function()
    local s = start({
      ["apps/hello/index.lua"] = echo("latest"),
      ["apps/hello@1.2.0/index.lua"] = echo("1.2.0"),
      ["apps/@acme/shop/index.lua"] = echo("shop"),
      ["apps/@acme/shop/manifest.yaml"] = "maxBodySize: 2kb\n",
      ["apps/big/index.lua"] = echo("big"),
      ["apps/big/manifest.yaml"] = "maxBodySize: 20kb\n",
    }, { env = { RUNTIME_BODY_LIMIT = "10kb" } })
    local got = s:post("/hello/what/a%20b?q=1", { body = "12345" }):json()
    got.worker = nil
    assert.same({
      mark = "latest",
      method = "POST",
      path = "/what/a%20b",
      base = "/hello",
      q = "1",
      length = 5,
    }, got)
    local res = s:get("/hello@^1.0.0/what/x", { headers = { ["X-Base"] = "/forged" } })
    assert.same({ "1.2.0", "/hello@^1.0.0" }, { res:json().mark, res:json().base })
    assert.equal("hello worker /hello@^1.0.0", res.headers["x-app"])
    assert.equal("/hello@^1.0.0", res.headers["x-base"])
    assert.equal("/@acme/shop", s:get("/@acme/shop/what/"):json().base)
    res = s:get("/hello?x=1")
    assert.same({ 308, "/hello/?x=1" }, { res.status, res.headers.location })
    assert.equal(404, s:get("/hello/nothing").status)
    assert.equal(405, s:post("/hello/env").status)
    assert.equal(413, s:post("/@acme/shop/what/", { body = ("x"):rep(3000) }).status)
    assert.equal(15000, s:post("/big/what/", { body = ("x"):rep(15000) }):json().length)
    assert.equal(413, s:post("/hello/what/", { body = ("x"):rep(15000) }).status)
    s:stop()
  end)

  it("have an environment of their own", function()
    local s = start({
      ["apps/env/index.lua"] = echo("env"),
      ["apps/env/manifest.yaml"] = [[
env: { MODE: fast, COUNT: 3, API_KEY: literal, WORKER_ID: forged, LD_PRELOAD: /evil.so }
permissions: { env: [PASSED, FROM_FILE, DB_PASSWORD] }
]],
      ["server.env"] = "FROM_FILE=one\n",
    }, {
      env = {
        PASSED = "by the server",
        DB_PASSWORD = "secret",
        HIDDEN = "not named",
        RUNTIME_ENV_FILE = "server.env",
      },
    })
    local names = "APP_DIR,ENTRYPOINT,MODE,COUNT,API_KEY,PASSED,FROM_FILE,DB_PASSWORD,HIDDEN,LD_PRELOAD,PATH"
    local env = s:get("/env/env?names=" .. names):json()
    assert.truthy(env.APP_DIR:find("^/.*/apps/env$"))
    env.APP_DIR = nil
    assert.same({
      ENTRYPOINT = "index.lua",
      MODE = "fast",
      COUNT = "3",
      API_KEY = "literal",
      PASSED = "by the server",
      FROM_FILE = "one",
    }, env)
    env = s:get("/env/env?names=WORKER_ID,RUNTIME_API_URL,TMPDIR"):json()
    assert.not_equal("forged", env.WORKER_ID)
    assert.equal("http://127.0.0.1:" .. s.port, env.RUNTIME_API_URL)
    assert.equal("/", env.TMPDIR:sub(1, 1))
    assert.truthy(s:wait_log("permissions.env: DB_PASSWORD looks like a secret"))

    s:write("../server.env", "FROM_FILE=two\n")
    assert.equal(200, s:reload("changed=true").status)
    assert.equal("two", s:get("/env/env?names=FROM_FILE"):json().FROM_FILE)
    s:stop()
  end)

  it("keep their processes until they change", function()
    local manifest = "ttl: 10m\nversion: 1.0.0\n"
    local s = start({
      ["apps/keep/index.lua"] = echo("keep"),
      ["apps/keep/manifest.yaml"] = manifest,
      ["apps/change/index.lua"] = echo("old"),
      ["apps/change/manifest.yaml"] = manifest,
    })
    local kept, changed = worker_of(s, "/keep/what/"), worker_of(s, "/change/what/")
    assert.equal(200, s:reload().status)
    assert.same({ kept, changed }, { worker_of(s, "/keep/what/"), worker_of(s, "/change/what/") })

    local slow = s:connect()
    slow:send("GET /change/slow?s=0.5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.truthy(process.eventually(function()
      for _, one in ipairs(s:get("/api/workers/_/change"):json().processes) do
        if one.inFlight > 0 then
          return true
        end
      end
    end, 10))
    s:write("../apps/change/index.lua", echo("new"))
    assert.equal(200, s:reload("changed=true").status)
    assert.equal("new", s:get("/change/what/"):json().mark)
    assert.not_equal(changed, worker_of(s, "/change/what/"))
    assert.equal(kept, worker_of(s, "/keep/what/"))
    local answer = slow:read_all(20)
    slow:close()
    assert.truthy(answer:find("\r\n\r\nold", 1, true), answer)

    assert.equal(200, s:post("/api/workers/_/keep/latest/disable").status)
    assert.equal(404, s:get("/keep/what/").status)
    local line = s:wait_log(function(line)
      return line.msg == "terminated" and line.id == kept and line.reason == "replaced"
    end, 20)
    assert.is_true(line.workerPid > 1)
    s:stop()
  end)

  it("that a reload takes away from a request which a hook holds are those of now", function()
    local hold = [[
return { onRequest = function(req) if req.headers["x-hold"] then buntime.sleep(0.5) end end }
]]
    local s = start({
      ["apps/change/index.lua"] = echo("old"),
      ["apps/gone/index.lua"] = echo("gone"),
    }, { plugins = { hold = fixtures.plugin("name: hold\n", hold) } })
    local held = {}
    for _, name in ipairs({ "change", "gone" }) do
      local conn = s:connect()
      local head = "GET /%s/what/ HTTP/1.1\r\nHost: x\r\nX-Hold: 1\r\nConnection: close\r\n\r\n"
      conn:send(head:format(name))
      held[name] = conn
    end
    assert.equal("gone", s:get("/gone/what/"):json().mark) -- those before it were received
    s:write("../apps/change/index.lua", echo("new"))
    s:remove("../apps/gone")
    assert.equal(200, s:reload("changed=true").status)
    local changed, gone = held.change:read_all(20), held.gone:read_all(20)
    assert.truthy(changed:find(' 200 .*"mark":"new"'), changed)
    assert.truthy(gone:find("^HTTP/1.1 404 "), gone)
    held.change:close()
    held.gone:close()
    s:stop()
  end)

  it("are told to plugins and to the control plane", function()
    local s = start({
      ["apps/kept/index.lua"] = echo("kept"),
      ["apps/kept/manifest.yaml"] = "ttl: 10m\n",
      ["apps/kept@1.0.0/index.lua"] = echo("one"),
    }, {
      env = { RUNTIME_POOL_SIZE = "7" },
      plugins = {
        watcher = fixtures.plugin("name: watcher\nbase: /watcher\n", WATCHER),
        side = {
          ["manifest.yaml"] = "name: side\nversion: 2.0.0\nbase: /side\nentrypoint: index.lua\n",
          ["index.lua"] = echo("side"),
        },
      },
    })
    local before = s:get("/watcher/pool"):json()
    assert.same({ 7, 7, 0 }, { before.size, before.all, before.requests })
    local id = worker_of(s, "/kept/what/")
    worker_of(s, "/kept/what/")
    worker_of(s, "/kept@1/what/")
    local line = s:wait_log(function(line)
      return line.msg == "spawned" and line.id == id
    end, 10)
    assert.same({ "kept", "worker" }, { line.app, line.kind })
    local pool = s:get("/watcher/pool"):json()
    assert.equal(3, pool.requests)
    assert.is_true(pool.workers >= 1)

    local app
    for _, item in ipairs(s:get("/api/workers"):json()) do
      app = item.name == "kept" and item or app
    end
    assert.equal(3, app.requests)
    assert.is_true(app.live >= 1)
    local found
    for _, one in ipairs(s:get("/api/workers/_/kept"):json().processes) do
      found = one.id == id and one or found
    end
    assert.same({ "latest", "idle", 0, 2 }, { found.version, found.state, found.inFlight, found.served })
    assert.equal(line.workerPid, found.pid)
    assert.is_true(found.memory > 0 and found.ageMs >= 0)

    local res = s:get("/side/what/x")
    assert.same({ "side", "/what/x" }, { res:json().mark, res:json().path })
    assert.equal("side worker /side", res.headers["x-app"])
    for _, item in ipairs(s:get("/api/workers"):json()) do
      app = item.name == "side" and item or app
    end
    assert.same({ "plugin", false, { "2.0.0" } }, { app.source, app.removable, app.versions })
    assert.equal(1, app.requests)
    assert.equal(404, s:delete("/api/workers/_/side").status)
    s:stop()
    assert.truthy(line)
  end)

  it("answer one request of a command", function()
    local files = { ["hello/index.lua"] = echo("hello"), ["hello/manifest.yaml"] = "version: 1.0.0\n" }
    local code, out = server.run({ "run", "hello", "GET", "/hello@1/what/x?q=2" }, { files = files })
    assert.equal(0, code, out)
    assert.truthy(out:find('"mark":"hello"', 1, true), out)
  end)
end)
