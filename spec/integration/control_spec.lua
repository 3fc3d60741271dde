-- The control plane over HTTP: routes and shapes, who may call, enabling and disabling, the record.

local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local server = require("spec.support.server")

local UUID = "^%x+%-%x+%-%x+%-%x+%-%x+$"
local KEY = "a root key that is long enough"

--- What every plugin of GET /api/plugins has.
local FIELDS = {
  "name",
  "path",
  "version",
  "base",
  "enabled",
  "removable",
  "source",
  "state",
  "error",
  "hash",
}

local function check_error(res, status, code)
  assert.equal(status, res.status, res.body)
  local body = res:json()
  assert.is_false(body.success)
  assert.equal(code, body.code)
  assert.is_string(body.message)
  assert.truthy(body.requestId:find(UUID))
  assert.equal(res.headers["x-request-id"], body.requestId)
  return body
end

local function by_name(list)
  local found = {}
  for _, item in ipairs(list) do
    found[item.name] = item
  end
  return found
end

local function post(s, path, options)
  return s:post("/api/plugins/" .. path, options)
end

--- A plugin that fails as its text says, with a good name.
local function broken(name, code, lines)
  return fixtures.plugin(("name: %s\n%s"):format(name, lines or ""), code)
end

describe("the control plane", function()
  describe("looking", function()
    local s

    setup(function()
      s = server.start({
        dirs = { ".builtin", "plugins" },
        files = {
          [".builtin/shipped/manifest.yaml"] = "name: shipped\nversion: 2.0.1\nbase: /shipped\n",
          [".builtin/shipped/plugin.lua"] = fixtures.answers("shipped"),
        },
        env = { TYPED_SIZE = 7 },
        copy = { "spec/fixtures/plugins/typed" },
        plugins = {
          one = fixtures.hello("one", "1", "dependencies: [two]\nmenus: [{ title: One, path: /one }]"),
          two = fixtures.hello("two", "2"),
          off = fixtures.hello("off", "", "enabled: false"),
          syntax = broken("syntax", "return {\n  =\n}\n", "base: /syntax"),
          needs = fixtures.hello("needs", "", "dependencies: [syntax]"),
          unreadable = broken("unreadable", "return {}", "base: [\n"),
          busy = fixtures.plugin(
            "name: busy\nbase: /busy\n",
            [[
local timer = require("buntime.timer")
local routes = require("buntime.router").new()
routes:get("/", function() error("it broke \255") end)
return { routes = routes, onInit = function() timer.every(60, function() end) end }
]]
          ),
        },
      })
      s:allow_errors("syntax", "unreadable", "needs", "it broke")
    end)
    teardown(function()
      s:stop()
    end)

    it("begins with discovery", function()
      local res = s:get("/.well-known/buntime")
      assert.equal(200, res.status)
      assert.equal("application/json", res.headers["content-type"])
      assert.same({ api = "/api", version = res:json().version }, res:json())
      assert.truthy(res:json().version:find("^%d+%.%d+%.%d+"))
    end)

    it("lists every plugin on disk, in the order of discovery", function()
      local res = s:get("/api/plugins")
      assert.equal(200, res.status)
      local list, names = res:json(), {}
      for i, plugin in ipairs(list) do
        names[i] = plugin.name
        for _, field in ipairs(FIELDS) do
          assert.not_nil(plugin[field], plugin.name .. " has no " .. field)
        end
      end
      local order = "shipped busy needs off one syntax two @fixtures/typed unreadable"
      assert.equal(order, table.concat(names, " "))
      local found = by_name(list)
      for name, state in pairs({
        shipped = "loaded",
        busy = "loaded",
        needs = "skipped",
        off = "disabled",
        one = "loaded",
        syntax = "failed",
        unreadable = "failed",
      }) do
        assert.equal(state, found[name].state, name)
        assert.equal(name ~= "off", found[name].enabled, name)
      end
      local shipped = found.shipped
      assert.same(
        { "2.0.1", "/shipped", ".builtin/shipped", false, "builtin", cjson.null },
        { shipped.version, shipped.base, shipped.path, shipped.removable, shipped.source, shipped.error }
      )
      assert.truthy(shipped.hash:find("^%x+$"))
      assert.same({ true, "external" }, { found.one.removable, found.one.source })
      assert.equal(cjson.null, found.one.version)
    end)

    it("says where and why a plugin failed", function()
      local found = by_name(s:get("/api/plugins"):json())
      local problem = found.syntax.error
      assert.equal("LOAD_FAILED", problem.code)
      assert.equal("plugins/syntax/plugin.lua", problem.file)
      assert.equal(2, problem.line)
      assert.truthy(problem.message:find("unexpected symbol", 1, true))
      assert.equal("MANIFEST_INVALID", found.unreadable.error.code)
      assert.equal("plugins/unreadable/manifest.yaml", found.unreadable.error.file)
      assert.truthy(found.needs.error.message:find("syntax", 1, true))
    end)

    it("lists what is loaded, dependencies first", function()
      local res = s:get("/api/plugins/loaded")
      assert.equal(200, res.status)
      local names, found = {}, by_name(res:json())
      for i, plugin in ipairs(res:json()) do
        names[i] = plugin.name
      end
      assert.equal("shipped busy two one @fixtures/typed", table.concat(names, " "))
      assert.same({ "two" }, found.one.dependencies)
      assert.same({ title = "One", path = "/one", icon = cjson.null, items = {} }, found.one.menus[1])
      local _, lists = res.body:gsub('"optionalDependencies":%[%]', "")
      assert.equal(5, lists)
      assert.truthy(res.body:find('"items":[]', 1, true))
    end)

    it("tells what one plugin holds and does", function()
      local before = s:get("/api/plugins/busy"):json()
      s:get("/busy")
      s:get("/busy")
      local now = s:get("/api/plugins/busy"):json()
      assert.equal(2, now.calls - before.calls)
      assert.equal(2, now.errors - before.errors)
      assert.same({ { kind = "timer", label = "plugin.lua:4" } }, now.resources)
      assert.truthy(now.memory > 10000 and now.memory < now.memoryLimit)
      assert.equal(128 * 1024 * 1024, now.memoryLimit)
      assert.equal(0, now.tasks)
      assert.equal("loaded", now.state)

      local off = s:get("/api/plugins/off"):json()
      assert.same({ "disabled", 0, 0 }, { off.state, off.memory, off.calls })
    end)

    it("keeps the last errors with their count and traceback", function()
      s:get("/busy", { headers = { ["X-Request-Id"] = "the-last" } })
      local list = s:get("/api/plugins/busy/errors"):json()
      assert.equal(1, #list)
      local fault = list[1]
      assert.truthy(fault.count >= 1)
      assert.truthy(fault.message:find("it broke \239\191\189", 1, true))
      assert.same({ "request", "the-last", 3 }, { fault.phase, fault.requestId, fault.line })
      assert.equal("plugins/busy/plugin.lua", fault.file)
      assert.truthy(fault.traceback:find("plugin.lua:3", 1, true))
      assert.truthy(fault.last:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"))
      assert.equal("[]", s:get("/api/plugins/two/errors").body)
      assert.equal("LOAD_FAILED", s:get("/api/plugins/syntax/errors"):json()[1].code)
    end)

    it("tells where each value of the configuration is from", function()
      local config = s:get("/api/plugins/%40fixtures%2Ftyped/config"):json()
      assert.same({ value = 7, source = "env", env = "TYPED_SIZE" }, config.size)
      assert.same({ value = "***", source = "manifest", env = "TYPED_SECRET" }, config.secret)
      assert.same({ value = "Untitled", source = "default", env = "TYPED_TITLE" }, config.title)
      assert.same({ value = 4, source = "manifest", env = cjson.null }, config["store.retries"])
      assert.same({ value = cjson.null, source = cjson.null, env = "TYPED_UNSET" }, config.unset)
      assert.equal("manifest", config.greeting.source)
      assert.equal("{}", s:get("/api/plugins/off/config").body)
      check_error(s:get("/api/plugins/unreadable/config"), 409, "MANIFEST_INVALID")
    end)

    it("does not know other names", function()
      for _, path in ipairs({ "nope", "nope/config", "nope/errors", "%ff", "a%00b" }) do
        local res = s:get("/api/plugins/" .. path)
        if res.status ~= 400 then -- NUL in a path
          check_error(res, 404, "PLUGIN_NOT_FOUND")
        end
      end
    end)

    it("answers other methods with 405", function()
      for target, allow in pairs({
        ["/api/plugins/reload"] = "OPTIONS, POST",
        ["/api/plugins/one/reload"] = "OPTIONS, POST",
        ["/api/plugins/one/enable"] = "OPTIONS, POST",
      }) do
        local res = s:get(target)
        check_error(res, 405, "METHOD_NOT_ALLOWED")
        assert.equal(allow, res.headers.allow)
      end
      check_error(s:post("/api/plugins/loaded"), 405, "METHOD_NOT_ALLOWED")
    end)

    it("answers HEAD", function()
      local res = s:request("HEAD", "/api/plugins")
      assert.same({ 200, "" }, { res.status, res.body })
    end)

    it("is never kept by a cache", function()
      assert.equal("no-store", s:get("/api/plugins").headers["cache-control"])
      assert.equal("no-store", s:get("/api/health").headers["cache-control"])
    end)
  end)

  describe("paths", function()
    after_each(server.stop_all)

    it("are never passed on to plugins", function()
      local s = server.start({
        plugins = {
          all = fixtures.plugin(
            'name: all\nbase: "/"\n',
            [[
local routes = require("buntime.router").new()
routes:all("*", function(c) return c:text("plugin") end)
return {
  routes = routes,
  server = { fetch = function(req) return { status = 200, body = "fetch" } end },
  onRequest = function(req) req:set_header("x-hook", "1") return req end,
  onResponse = function(res) res.headers["x-hook"] = "1" end,
}
]]
          ),
        },
      })
      for _, path in ipairs({ "/api", "/api/", "/api/nope", "/api/plugins/x/y", "//api/nope" }) do
        local res = s:get(path)
        check_error(res, 404, "NOT_FOUND")
        assert.is_nil(res.headers["x-hook"])
      end
      assert.equal("fetch", s:get("/apis").body)
      assert.equal("fetch", s:get("/.well-known/other").body)
      s:stop()
    end)

    it("move with RUNTIME_API_PREFIX", function()
      local s = server.start({
        env = { RUNTIME_API_PREFIX = "/_" },
        plugins = { one = fixtures.hello("one", "1") },
      })
      assert.equal("/_/api", s:get("/.well-known/buntime"):json().api)
      assert.equal(200, s:get("/_/api/health").status)
      assert.equal("one", s:get("/_/api/plugins"):json()[1].name)
      assert.equal(200, s:post("/_/api/plugins/one/reload").status)
      assert.equal(404, s:get("/api/health").status)
      check_error(s:get("/_/api/nope"), 404, "NOT_FOUND")
      s:stop()
    end)
  end)

  describe("health", function()
    after_each(server.stop_all)

    it("is about critical plugins, and open to all", function()
      local bad = broken("vital", "error('no')", "base: /vital\ncritical: true\n")
      local s = server.start({ plugins = { vital = bad, other = fixtures.hello("other", "") } })
      s:allow_errors("no")
      local res = s:get("/api/health/ready", { headers = { ["X-Forwarded-For"] = "1.2.3.4" } })
      assert.equal(503, res.status)
      assert.is_false(res:json().ok)
      assert.same({ "the critical plugin vital is not loaded" }, res:json().reasons)
      assert.equal(503, s:get("/api/health").status)
      assert.equal(200, s:get("/api/health/live").status)
      assert.equal(503, s:get("/vital").status)

      s:write("vital/plugin.lua", fixtures.answers("here"))
      assert.equal(200, s:reload("changed=true").status)
      res = s:get("/api/health")
      assert.equal(200, res.status)
      local body = res:json()
      assert.same({ true, "ok", 2 }, { body.ok, body.status, body.plugins.loaded })
      assert.truthy(body.uptime > 0 and body.generation == 2)
      assert.truthy(res.body:find('"reasons":[]', 1, true))

      s:write("other/plugin.lua", "=")
      assert.equal(207, s:reload("changed=true").status)
      body = s:get("/api/health"):json()
      assert.same({ true, "degraded" }, { body.ok, body.status })
      assert.equal(200, s:get("/api/health/ready").status)

      post(s, "vital/disable") -- not wanted, so not missed
      assert.equal(200, s:get("/api/health/ready").status)
      s:stop()
    end)
  end)

  describe("reload", function()
    after_each(server.stop_all)

    local s

    before_each(function()
      s = server.start({
        plugins = { one = fixtures.hello("one", "1", "version: 1.2.3"), two = fixtures.hello("two", "2") },
      })
    end)

    it("answers with the reload object", function()
      local res = s:reload()
      assert.equal(200, res.status)
      local body = res:json()
      assert.same({ true, 2, 2 }, { body.ok, body.generation, #body.plugins })
      assert.truthy(body.durationMs >= 0)
      assert.truthy(res.body:find('"leaks":[]', 1, true))
      local one = by_name(body.plugins).one
      assert.same(
        { "plugins/one", "1.2.3", "loaded", "/one", cjson.null },
        { one.path, one.version, one.status, one.base, one.error }
      )
      assert.is_number(one.initMs)
      s:stop()
    end)

    it("answers 207 and keeps the old code", function()
      s:write("one/plugin.lua", "return {\n\n  ==\n}")
      local res = s:reload()
      assert.equal(207, res.status)
      local one = by_name(res:json().plugins).one
      assert.same({ false, "kept_old" }, { res:json().ok, one.status })
      assert.same({ "plugins/one/plugin.lua", 3 }, { one.error.file, one.error.line })
      assert.equal("1", s:get("/one").body)
      assert.equal("kept_old", s:get("/api/plugins/one"):json().state)
      s:stop()
    end)

    it("answers 409 when it is strict, and swaps nothing", function()
      s:write("one/plugin.lua", "error('no')")
      s:write("two/plugin.lua", fixtures.answers("new"))
      local res = s:reload("strict=true")
      assert.equal(409, res.status)
      assert.same({ false, 1 }, { res:json().ok, res:json().generation })
      assert.equal("2", s:get("/two").body)
      s:stop()
    end)

    it("only says what would happen in a dry run", function()
      s:write("one/plugin.lua", "==")
      s:write("two/plugin.lua", fixtures.answers("new"))
      local res = s:reload("dry_run=true")
      assert.equal(207, res.status)
      assert.equal(1, res:json().generation)
      assert.equal("2", s:get("/two").body)
      s:stop()
    end)

    it("reloads one plugin", function()
      s:write("one/plugin.lua", fixtures.answers("new 1"))
      s:write("two/plugin.lua", fixtures.answers("new 2"))
      local res = post(s, "one/reload")
      assert.equal(200, res.status)
      assert.same({ "one" }, { res:json().plugins[1].name, res:json().plugins[2] })
      assert.same({ "new 1", "2" }, { s:get("/one").body, s:get("/two").body })
      check_error(post(s, "nope/reload"), 404, "PLUGIN_NOT_FOUND")
      check_error(s:reload("changed=maybe"), 400, "INVALID_QUERY")
      s:stop()
    end)

    it("answers everyone who asks at once", function()
      local bodies = http.parallel(8, function(i)
        local path = i % 2 == 0 and "/api/plugins/reload" or "/api/plugins/one/reload"
        return s:post(path)
      end)
      for _, res in ipairs(bodies) do
        assert.equal(200, res.status)
      end
      s:stop()
    end)

    it("goes on without the one who asked", function()
      s:write(
        "one/plugin.lua",
        [[
local routes = require("buntime.router").new()
routes:get("/", function(c) return c:text("slow") end)
return {
  routes = routes,
  onInit = function(ctx)
    ctx.logger.info("slow begins")
    buntime.sleep(0.6)
  end,
}
]]
      )
      local conn = s:connect()
      conn:send(http.format("POST", "/api/plugins/reload", nil, s.port))
      assert.truthy(s:wait_log("slow begins"))
      conn.sock:setoption("linger", { on = true, timeout = 0 }) -- a reset: gone for good
      conn:close()
      local res = s:reload("changed=true") -- waits for the other
      assert.equal(200, res.status)
      assert.equal("slow", s:get("/one").body)
      assert.equal("unchanged", by_name(res:json().plugins).one.status)
      local record = s:wait_log(function(line)
        return line.audit and line.result == "unknown"
      end)
      assert.equal("plugins.reload", record.action)
      s:stop()
    end)
  end)

  describe("secrets", function()
    after_each(server.stop_all)

    it("are masked, also when the plugin that told them is gone", function()
      local s = server.start({
        env = { LEAKY_KEY = "hunter2-hunter2" },
        plugins = {
          leaky = broken(
            "leaky",
            [[
return function(config)
  return { onInit = function() error("bad key " .. config.key) end }
end
]],
            "config:\n  key: { type: password, env: LEAKY_KEY }\nnote: hunter2-hunter2\n"
          ),
        },
      })
      s:allow_errors("bad key")
      for _, res in ipairs({
        s:get("/api/plugins"),
        s:reload(),
        s:reload("changed=true"),
        s:get("/api/plugins"),
        s:get("/api/plugins/leaky"),
        s:get("/api/plugins/leaky/errors"),
        s:get("/api/plugins/leaky/config"),
      }) do
        assert.is_nil(res.body:find("hunter2", 1, true), res.body)
        assert.truthy(res.body:find("***", 1, true))
      end
      assert.is_nil(s:log():find("hunter2", 1, true))
      s:stop()
    end)
  end)

  describe("enable and disable", function()
    after_each(server.stop_all)

    local TEXT = '# Mine.\r\nname: "@acme/one"   # the name\r\n\r\n# on?\r\n'
      .. "enabled: true  # yes\r\nbase: /one\r\n"

    local function start(manifest)
      return server.start({
        plugins = {
          one = fixtures.plugin(manifest, fixtures.answers("1")),
          two = fixtures.hello("two", "2"),
        },
      })
    end

    it("edit one line and take effect", function()
      local s = start(TEXT)
      assert(os.execute("chmod 640 " .. s:path("one/manifest.yaml")))
      local res = post(s, "%40acme%2Fone/disable")
      assert.equal(200, res.status)
      local body = res:json()
      assert.is_true(body.success)
      assert.same({ name = "@acme/one", enabled = false }, body.data)
      assert.is_true(body.reload.ok)
      assert.equal("disabled", by_name(body.reload.plugins)["@acme/one"].status)
      assert.equal("unchanged", by_name(body.reload.plugins).two.status)
      assert.equal((TEXT:gsub("true ", "false ")), s:read("one/manifest.yaml"))
      assert.equal("rw-r-----", lfs.attributes(s:path("one/manifest.yaml"), "permissions"))
      assert.equal(404, s:get("/one").status)

      res = post(s, "%40acme%2Fone/disable") -- once more is fine
      assert.same({ 200, 2 }, { res.status, res:json().reload.generation })

      res = post(s, "%40acme%2Fone/enable")
      assert.equal(200, res.status)
      assert.same({ name = "@acme/one", enabled = true }, res:json().data)
      assert.equal(TEXT, s:read("one/manifest.yaml"))
      assert.equal("1", s:get("/one").body)
      for file in lfs.dir(s:path("one")) do
        assert.is_nil(file:find("^%.manifest"))
      end
      s:stop()
    end)

    it("add the line where there is none", function()
      local s = start("name: one\nbase: /one # where\n")
      assert.equal(200, post(s, "one/enable").status)
      assert.equal("name: one\nbase: /one # where\n", s:read("one/manifest.yaml"))
      assert.equal(200, post(s, "one/disable").status)
      assert.equal("name: one\nenabled: false\nbase: /one # where\n", s:read("one/manifest.yaml"))
      s:stop()
    end)

    it("tell when the reload does not come through", function()
      local s = start("name: one\nbase: /two\nenabled: false\n")
      s:allow_errors("/two")
      local res = post(s, "one/enable")
      assert.equal(207, res.status)
      local one = by_name(res:json().reload.plugins).one
      assert.same({ "failed", "BASE_CONFLICT" }, { one.status, one.error.code })
      assert.same({ true, true }, { res:json().success, res:json().data.enabled })
      s:stop()
    end)

    it("refuse what one line cannot do", function()
      local s = start("{ name: one, base: /one }\n")
      check_error(post(s, "one/disable"), 409, "MANIFEST_FLOW_STYLE")
      assert.equal("{ name: one, base: /one }\n", s:read("one/manifest.yaml"))
      s:write("one/manifest.yaml", "name: [one\n")
      check_error(post(s, "one/disable"), 409, "MANIFEST_INVALID")
      check_error(post(s, "nope/disable"), 404, "PLUGIN_NOT_FOUND")
      assert.equal("1", s:get("/one").body)
      s:stop()
    end)

    it("work on manifest.yml and on built-in plugins", function()
      local s = server.start({
        dirs = { ".builtin" },
        files = {
          [".builtin/b/manifest.yml"] = "name: b\nbase: /b\n",
          [".builtin/b/plugin.lua"] = fixtures.answers("b"),
        },
      })
      assert.equal(200, post(s, "b/disable").status)
      assert.equal(404, s:get("/b").status)
      assert.equal(200, post(s, "b/enable").status)
      assert.equal("b", s:get("/b").body)
      s:stop()
    end)
  end)

  describe("callers", function()
    after_each(server.stop_all)

    --- Every route that needs a credential.
    local ROUTES = {
      { "GET", "/api/plugins" },
      { "GET", "/api/plugins/loaded" },
      { "GET", "/api/plugins/one" },
      { "GET", "/api/plugins/one/config" },
      { "GET", "/api/plugins/one/errors" },
      { "POST", "/api/plugins/reload" },
      { "POST", "/api/plugins/one/reload" },
      { "POST", "/api/plugins/one/enable" },
      { "POST", "/api/plugins/one/disable" },
    }

    local function start(key, env)
      env = env or {}
      env.RUNTIME_ROOT_KEY = key
      return server.start({ env = env, plugins = { one = fixtures.hello("one", "1") } })
    end

    it("need the root key when there is one", function()
      local s = start(KEY)
      for _, route in ipairs(ROUTES) do
        local res = s:request(route[1], route[2])
        check_error(res, 401, "AUTH_REQUIRED")
        assert.equal('Bearer realm="buntime"', res.headers["www-authenticate"])
      end
      assert.equal(1, s:get("/api/health"):json().generation) -- nothing happened
      for _, headers in ipairs({ { ["X-API-Key"] = KEY }, { Authorization = "Bearer " .. KEY } }) do
        for _, route in ipairs(ROUTES) do
          assert.equal(200, s:request(route[1], route[2], { headers = headers }).status, route[2])
        end
      end
      for _, path in ipairs({ "/.well-known/buntime", "/api/health", "/api/health/ready" }) do
        assert.equal(200, s:get(path).status, path)
      end
      s:stop()
    end)

    it("find the key in a file as well, and never in a log or an answer", function()
      local s = server.start({
        env = { RUNTIME_ROOT_KEY_FILE = "key" },
        files = { key = KEY .. "\n" },
        plugins = {
          nosy = fixtures.plugin(
            "name: nosy\nbase: /nosy\n",
            [[
local routes = require("buntime.router").new()
routes:get("/", function(c)
  local name = "RUNTIME_ROOT_KEY"
  return c:json({ env = buntime.env[name] or "none", os = os.getenv(name) or "none" })
end)
return { routes = routes }
]]
          ),
        },
      })
      check_error(s:get("/api/plugins"), 401, "AUTH_REQUIRED")
      assert.equal(200, s:get("/api/plugins", { headers = { ["X-API-Key"] = KEY } }).status)
      assert.same({ env = "none", os = "none" }, s:get("/nosy"):json())
      assert.is_nil(s:log():find(KEY, 1, true))
      s:stop()
    end)

    it("have to wait after ten wrong keys, but only here", function()
      local s = start(KEY)
      local wrong, right = { headers = { ["X-API-Key"] = "x" } }, { headers = { ["X-API-Key"] = KEY } }
      for _ = 1, 20 do
        check_error(s:get("/api/plugins"), 401, "AUTH_REQUIRED") -- none is not wrong
      end
      for _ = 1, 10 do
        check_error(s:get("/api/plugins", wrong), 401, "AUTH_REQUIRED")
      end
      for _, options in ipairs({ wrong, right }) do
        local res = s:post("/api/plugins/reload", options)
        check_error(res, 429, "TOO_MANY_REQUESTS")
        local seconds = tonumber(res.headers["retry-after"])
        assert.truthy(seconds and seconds > 0 and seconds <= 60)
      end
      assert.equal(200, s:get("/api/health", wrong).status)
      assert.equal(200, s:get("/.well-known/buntime", wrong).status)
      assert.equal("1", s:get("/one", wrong).body)
      s:stop()
    end)

    it("are this machine alone when there is no key", function()
      local s = start(nil)
      for _, host in ipairs({ "localhost", "127.0.0.1:" .. s.port, "127.9.9.9", "[::1]:80" }) do
        assert.equal(200, s:get("/api/plugins", { headers = { Host = host } }).status, host)
      end
      for name, value in pairs({
        Host = "buntime.example:" .. s.port,
        Forwarded = "for=127.0.0.1",
        ["X-Forwarded-For"] = "127.0.0.1",
        ["X-Forwarded-Host"] = "localhost",
        ["X-Real-IP"] = "127.0.0.1",
      }) do
        for _, route in ipairs(ROUTES) do
          local res = s:request(route[1], route[2], { headers = { [name] = value } })
          local body = check_error(res, 401, "AUTH_REQUIRED")
          assert.truthy(body.message:find("RUNTIME_ROOT_KEY", 1, true))
        end
        assert.equal(200, s:get("/api/health", { headers = { [name] = value } }).status)
      end
      assert.equal(1, s:get("/api/health"):json().generation)
      s:stop()
    end)

    it("are no pages of other sites, with a key or without", function()
      for _, key in ipairs({ false, KEY }) do
        local s = start(key or nil)
        local own = "http://localhost:" .. s.port
        local generation = 1
        for _, case in ipairs({
          { 200 },
          { 200, Origin = own },
          { 200, Origin = "https://localhost:" .. s.port },
          { 200, ["Sec-Fetch-Site"] = "same-origin" },
          { 200, ["Sec-Fetch-Site"] = "none" },
          { 403, Origin = "http://evil.example" },
          { 403, Origin = "http://localhost" },
          { 403, Origin = "http://localhost:" .. s.port .. ".evil.example" },
          { 403, Origin = "null" },
          { 403, Origin = { own, "http://evil.example" } },
          { 403, Origin = { own, own } },
          { 403, ["Sec-Fetch-Site"] = "cross-site" },
          { 403, ["Sec-Fetch-Site"] = "same-site" },
          { 403, Origin = "http://evil.example", ["Sec-Fetch-Site"] = "same-origin" },
          { 403, Origin = "http://evil.example", ["X-Buntime-Internal"] = "true" },
        }) do
          local headers = { ["X-API-Key"] = key or nil }
          for name, value in pairs(case) do
            if name ~= 1 then
              headers[name] = value
            end
          end
          local res = s:post("/api/plugins/reload", { headers = headers })
          local what = cjson.encode(headers)
          assert.equal(case[1], res.status, what)
          if case[1] == 403 then
            check_error(res, 403, "CROSS_SITE_REQUEST")
            assert.equal(200, s:get("/api/plugins", { headers = headers }).status, what)
          else
            generation = generation + 1
          end
          assert.equal(generation, s:get("/api/health"):json().generation, what)
        end
        s:stop()
      end
    end)
  end)

  describe("the record", function()
    local function free_port()
      local sock = assert(socket.bind("127.0.0.1", 0))
      local _, port = sock:getsockname()
      sock:close()
      return tonumber(port)
    end

    after_each(server.stop_all)

    local function records(s)
      local list = {}
      for _, line in ipairs(s:log_lines()) do
        if line.audit then
          list[#list + 1] = line
        end
      end
      return list
    end

    it("has one line for each call that changes something, refused or not", function()
      local s = server.start({
        port = free_port(), -- as the log does not say it
        env = { RUNTIME_ROOT_KEY = KEY, RUNTIME_LOG_LEVEL = "error" },
        plugins = { one = fixtures.hello("one", "1") },
      })
      local function call(path, key, origin)
        local headers = { ["X-API-Key"] = key, Origin = origin, ["X-Request-Id"] = "r" .. #records(s) }
        return post(s, path, { headers = headers }).status
      end
      local expected = {}
      for i, case in ipairs({
        { 401, "reload", nil, nil, "anonymous", "plugins.reload", "*", "refused", "AUTH_REQUIRED" },
        { 401, "one/enable", "no", nil, "anonymous", "plugins.enable", "one", "refused", "AUTH_REQUIRED" },
        {
          403,
          "one/disable",
          KEY,
          "http://evil.example",
          "root",
          "plugins.disable",
          "one",
          "refused",
          "CROSS_SITE_REQUEST",
        },
        { 200, "reload", KEY, nil, "root", "plugins.reload", "*", "ok" },
        { 404, "nope/reload", KEY, nil, "root", "plugins.reload", "nope", "failed", "PLUGIN_NOT_FOUND" },
        { 200, "one/disable", KEY, nil, "root", "plugins.disable", "one", "ok" },
        { 404, "%40a%2Fb/enable", KEY, nil, "root", "plugins.enable", "@a/b", "failed", "PLUGIN_NOT_FOUND" },
      }) do
        assert.equal(case[1], call(case[2], case[3], case[4]), case[2])
        expected[i] = { case[5], case[6], case[7], case[8], case[9], "r" .. i - 1 }
      end
      s:get("/api/plugins") -- only looks
      s:write("one/plugin.lua", "==")
      s:write("one/manifest.yaml", "name: one\n")
      assert.equal(207, call("reload", KEY))
      expected[#expected + 1] = { "root", "plugins.reload", "*", "partial", nil, "r" .. #expected }

      local lines = records(s)
      assert.equal(#expected, #lines)
      for i, line in ipairs(lines) do
        assert.is_true(line.audit)
        assert.same(
          { unpack(expected[i], 1, 6) },
          { line.principal, line.action, line.target, line.result, line.code, line.requestId }
        )
      end
      s:stop()
    end)
  end)

  describe("its modules", function()
    after_each(server.stop_all)

    it("are out of the reach of plugins", function()
      local s = server.start({
        plugins = {
          nosy = fixtures.plugin(
            "name: nosy\nbase: /nosy\n",
            [[
local routes = require("buntime.router").new()
routes:get("/", function(c)
  local out = {}
  for _, name in ipairs({ "buntime.core.control", "buntime.api", "buntime.api.plugins" }) do
    out[#out + 1] = tostring((pcall(require, name)))
  end
  return table.concat(out, " ")
end)
return { routes = routes }
]]
          ),
        },
      })
      assert.equal("false false false", s:get("/nosy").body)
      s:stop()
    end)
  end)
end)
