-- A plugin's life: onInit and its ctx, onServerStart, globals, timers, readiness, memory.

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- A plugin whose GET / runs this code.
local function code(text, lines)
  return plugin(
    "name: a\nbase: /a\n" .. (lines or ""),
    ([[
    local routes = require("buntime.router").new()
    routes:get("/", function(c)
      %s
    end)
    return { routes = routes }]]):format(text)
  )
end

describe("a plugin's life", function()
  after_each(server.stop_all)

  it("is onInit, onServerStart, requests, onShutdown", function()
    local s = fixtures.start({ "lifecycle" })
    assert.equal("@fixtures/lifecycle", s:wait_log("lifecycle is up").plugin)
    assert.is_truthy(process.eventually(function()
      return s:get("/lifecycle/ticks"):json().ticks > 3
    end))
    assert.equal(s.port, s:get("/lifecycle/ticks"):json().port)
    assert.equal("init\nstart\n", process.read(s.dir .. "/journal"))

    s.process:kill("TERM")
    assert.equal(0, s.process:wait(20))
    assert.equal("init\nstart\nshutdown\n", process.read(s.dir .. "/journal"))
    s:stop()
  end)

  it("has a ctx with all that SPEC 5 names", function()
    local s = fixtures.start({ "lifecycle" }, { env = { RUNTIME_POOL_SIZE = 7 } })
    local ctx = s:get("/lifecycle/ctx"):json()
    assert.same({
      name = "@fixtures/lifecycle",
      version = "1.0.1",
      dir = "plugins/lifecycle",
      base = "/lifecycle",
    }, ctx.plugin)
    assert.equal("/api", ctx.runtime.api)
    assert.equal(s:get("/.well-known/buntime"):json().version, ctx.runtime.version)
    assert.same({ poolSize = 7, pluginDirs = { "plugins" }, workerDirs = { "apps" } }, ctx.globalConfig)
    assert.is_true(ctx.same_config and ctx.env)
    for _, name in ipairs({ "logger", "getPlugin", "auth" }) do
      assert.equal("function", ctx[name], name)
    end
    s:stop()
  end)

  it("logs with plugin, request id and fields", function()
    local s = fixtures.start({ "lifecycle" })
    local id = s:get("/lifecycle/log").body
    local line = s:wait_log("from the plugin")
    assert.same({ "warn", "@fixtures/lifecycle", id, 42, { 1, 2 } }, {
      line.level,
      line.plugin,
      line.requestId,
      line.answer,
      line.list,
    })
    s:stop()
  end)

  it("logs errors that nobody waits for", function()
    local s = fixtures.start({ "lifecycle" })
    s:allow_errors("in the background")
    assert.equal("spawned", s:get("/lifecycle/background").body)
    local line = s:wait_log("in the background")
    assert.equal("@fixtures/lifecycle", line.plugin)
    assert.matches("plugins/lifecycle/plugin%.lua:%d+: in the background", line.msg)
    assert.matches("stack traceback:", line.traceback)
    s:stop()
  end)

  describe("globals", function()
    it("are not assigned in development: an error with the line", function()
      local s = fixtures.start({ "routes" })
      s:allow_errors('assigning the global "leaked"')
      local res = s:get("/routes/global")
      assert.equal(500, res.status)
      assert.matches('^plugins/routes/plugin%.lua:%d+: assigning the global "leaked"', res:json().message)
      s:stop()
    end)

    it("are warned of once in production", function()
      local s = fixtures.start({ "routes" }, { env = { RUNTIME_ENV = "production" } })
      for _ = 1, 3 do
        assert.equal(200, s:get("/routes/global").status)
      end
      local warnings = {}
      for _, line in ipairs(s:log_lines()) do
        if line.msg and line.msg:find('assigns the global "leaked"', 1, true) then
          warnings[#warnings + 1] = line
        end
      end
      assert.equal(1, #warnings)
      assert.equal("warn", warnings[1].level)
      assert.matches("plugins/routes/plugin%.lua:%d+", warnings[1].msg)
      s:stop()
    end)

    it("and modules of one plugin are nothing to another", function()
      local function reader(name)
        return plugin(
          ("name: %s\nbase: /%s"):format(name, name),
          ([[
          rawset(_G, "shared", rawget(_G, "shared") or %q)
          string.mine = string.mine or %q
          package.loaded.mine = package.loaded.mine or %q
          local routes = require("buntime.router").new()
          routes:get("/", function(c)
            return c:text(shared .. string.mine .. package.loaded.mine)
          end)
          return { routes = routes }]]):format(name, name, name)
        )
      end
      server.with({ plugins = { a = reader("a"), b = reader("b") } }, function(s)
        assert.equal("aaa", s:get("/a").body)
        assert.equal("bbb", s:get("/b").body)
      end)
    end)
  end)

  it("cannot end or blind the process", function()
    local cases = { "os.exit(1)", "debug.sethook()", "jit.on()" }
    for _, text in ipairs(cases) do
      server.with({ plugins = { a = code(text .. " return c:text('done')") } }, function(s)
        s:allow_errors("is not available in a plugin")
        assert.equal(500, s:get("/a").status)
        assert.equal(200, s:get("/api/health/live").status)
      end)
    end
  end)

  it("ends at its memory budget, alone", function()
    local hog = [[
      local hoard = {}
      for i = 1, 1e7 do
        hoard[i] = ("x"):rep(1000) .. i
      end
      return c:text("done")]]
    server.with({ plugins = { a = code(hog, "memory: 8mb"), b = hello("b", "b") } }, function(s)
      s:allow_errors("not enough memory")
      for _ = 1, 3 do
        local res = s:get("/a")
        assert.equal(500, res.status)
        assert.equal("OUT_OF_MEMORY", res:json().code)
        assert.equal("b", s:get("/b").body)
      end
    end)
  end)

  describe("that is critical", function()
    it("is ready while it is loaded", function()
      local s = fixtures.start({ "critical" })
      assert.equal("here", s:get("/critical").body)
      assert.equal(200, s:get("/api/health/ready").status)
      s:stop()
    end)

    it("answers 503 at its base and fails readiness while it is not", function()
      local broken = plugin("name: a\nbase: /a\ncritical: true", "error('no')")
      local off = plugin("name: off\nbase: /off\ncritical: true\nenabled: false", "return {}")
      server.with({ plugins = { a = broken, b = hello("b", "b"), off = off } }, function(s)
        s:allow_errors("plugins/a/plugin.lua:1: no")
        for _, target in ipairs({ "/a", "/a/", "/a/x/y" }) do
          local res = s:get(target)
          assert.equal(503, res.status)
          assert.equal("PLUGIN_NOT_LOADED", res:json().code)
        end
        assert.equal(404, s:get("/ab").status)
        assert.equal(404, s:get("/off").status)
        assert.equal("b", s:get("/b").body)
        local ready = s:get("/api/health/ready")
        assert.equal(503, ready.status)
        assert.matches("the critical plugin a is not loaded", ready:json().reasons[1])
        assert.equal(200, s:get("/api/health/live").status)

        s:write("a/plugin.lua", fixtures.answers("mended"))
        assert.equal(200, s:reload().status)
        assert.equal("mended", s:get("/a").body)
        assert.equal(200, s:get("/api/health/ready").status)
      end)
    end)
  end)
end)
