-- What goes wrong in plugins: who is told what, and that all the others serve on.

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- The line of the log about this request, of level error.
local function error_line(s, res)
  return s:wait_log(function(line)
    return line.requestId == res.headers["x-request-id"] and line.level == "error"
  end)
end

describe("an error in a handler", function()
  describe("in development", function()
    local s

    setup(function()
      s = fixtures.start({ "routes", "server", "modules" })
    end)
    teardown(function()
      s:stop()
    end)

    it("is answered with message, place and traceback, and logged", function()
      s:allow_errors("it broke")
      local res = s:get("/routes/fail")
      assert.equal(500, res.status)
      assert.equal("application/json", res.headers["content-type"])
      local body = res:json()
      assert.is_false(body.success)
      assert.equal("INTERNAL_SERVER_ERROR", body.code)
      assert.matches("^plugins/routes/plugin%.lua:%d+: it broke$", body.message)
      assert.matches("plugins/routes/plugin%.lua:%d+: in function", body.traceback)
      assert.equal(res.headers["x-request-id"], body.requestId)

      local line = error_line(s, res)
      assert.equal("@fixtures/routes", line.plugin)
      assert.equal(body.message, line.msg)
      assert.matches("plugins/routes/plugin%.lua:%d+: in function", line.traceback)
    end)

    it("that is a table is told as well", function()
      s:allow_errors("error object is a table", "a table")
      local res = s:get("/routes/fail/table")
      assert.equal(500, res.status)
      assert.equal("INTERNAL_SERVER_ERROR", res:json().code)
      assert.is_truthy(error_line(s, res))
    end)

    it("that is an answer is that answer, and no error in the log", function()
      local res = s:get("/routes/fail/answer")
      assert.equal(409, res.status)
      assert.same({
        success = false,
        code = "NAME_TAKEN",
        message = "there is one of that name",
        requestId = res.headers["x-request-id"],
      }, res:json())
    end)

    it("is traced through coroutines", function()
      s:allow_errors("deep inside")
      local body = s:get("/routes/fail/coroutine"):json()
      assert.matches("plugins/routes/plugin%.lua:%d+: deep inside$", body.message)
      assert.matches("called from", body.traceback)
      assert.equal(2, select(2, body.traceback:gsub("stack traceback", "")))
    end)

    it("may be an answer that is none", function()
      s:allow_errors("returned nothing", "999")
      local body = s:get("/routes/answers/nothing"):json()
      assert.matches("plugins/routes/plugin%.lua:%d+: GET /answers/nothing returned nothing", body.message)
      body = s:get("/routes/answers/bad-status"):json()
      assert.matches("GET /answers/bad%-status answered with status 999", body.message)
    end)

    it("may come from server.fetch", function()
      s:allow_errors("fetch broke")
      local res = s:get("/fetched/raise")
      assert.equal(500, res.status)
      assert.equal("@fixtures/server", error_line(s, res).plugin)
    end)

    it("may be a module that is not there", function()
      s:allow_errors("module 'no.such.module' not found")
      local body = s:get("/modules/missing"):json()
      assert.matches("module 'no%.such%.module' not found", body.message)
      assert.matches("plugins/modules/no/such/module%.lua", body.message)
    end)

    it("is kept in the plugin's record and counted", function()
      s:allow_errors("it broke")
      local before = s:get("/api/plugins/%40fixtures%2Froutes"):json().errors
      local last
      for _ = 1, 3 do
        last = s:get("/routes/fail")
      end
      assert.equal(before + 3, s:get("/api/plugins/%40fixtures%2Froutes"):json().errors)
      local found
      for _, fault in ipairs(s:get("/api/plugins/%40fixtures%2Froutes/errors"):json()) do
        found = fault.message:find("it broke", 1, true) and fault or found
      end
      assert.is_true(found.count >= 3)
      assert.equal(last.headers["x-request-id"], found.requestId)
      assert.equal("request", found.phase)
      assert.equal("plugins/routes/plugin.lua", found.file)
      assert.matches("stack traceback", found.traceback)
    end)
  end)

  describe("elsewhere", function()
    after_each(server.stop_all)

    for _, env in ipairs({ "production", "staging", "test" }) do
      it("is answered without message and traceback in " .. env .. ", and logged in full", function()
        local s = fixtures.start({ "routes" }, { env = { RUNTIME_ENV = env } })
        s:allow_errors("it broke")
        local res = s:get("/routes/fail")
        assert.equal(500, res.status)
        local body = res:json()
        assert.equal("INTERNAL_SERVER_ERROR", body.code)
        assert.is_nil(body.traceback)
        assert.is_nil(res.body:find("it broke", 1, true))
        assert.is_nil(res.body:find("plugin.lua", 1, true))
        local line = error_line(s, res)
        assert.matches("it broke", line.msg)
        assert.matches("plugins/routes/plugin%.lua:%d+", line.traceback)
        s:stop()
      end)
    end

    it("of any kind of value leaves the server well", function()
      local routes = plugin(
        "name: a\nbase: /a",
        [[
        local routes = require("buntime.router").new()
        local values = {
          none = nil,
          number = 7,
          yes = true,
          fn = print,
          thread = coroutine.create(print),
          raising = setmetatable({}, { __tostring = function() error("again") end }),
          long = ("x"):rep(100000),
          nul = "a\0b",
          bytes = "\255\254",
        }
        routes:get("/raise/:what", function(c)
          error(values[c.req:param("what")], 0)
        end)
        routes:get("/deep", function(c)
          local function deeper() return 1 + deeper() end
          deeper()
        end)
        routes:get("/json", function(c)
          return c:json({ f = print })
        end)
        return { routes = routes }]]
      )
      server.with({ plugins = { a = routes } }, function(s)
        s:allow_errors("")
        local targets = { "/a/deep", "/a/json" }
        for what in ("none number yes fn thread raising long nul bytes"):gmatch("%w+") do
          targets[#targets + 1] = "/a/raise/" .. what
        end
        for _, target in ipairs(targets) do
          local res = s:get(target)
          assert.equal(500, res.status, target)
          assert.equal("INTERNAL_SERVER_ERROR", res:json().code, target)
          assert.is_truthy(error_line(s, res), target)
        end
        assert.equal(200, s:get("/api/health/live").status)
      end)
    end)
  end)
end)

describe("a plugin that does not load", function()
  after_each(server.stop_all)

  --- Each has the folders it is made of, the plugin that fails, and how.
  local cases = {
    {
      name = "raises while loading",
      plugins = { bad = plugin("name: bad\nbase: /bad", "local x = nil\nx.y = 1") },
      code = "LOAD_FAILED",
      place = { "plugins/bad/plugin.lua", 2 },
    },
    {
      name = "has a syntax error",
      plugins = { bad = plugin("name: bad\nbase: /bad", "return {\n}}") },
      code = "LOAD_FAILED",
      place = { "plugins/bad/plugin.lua", 2 },
    },
    {
      name = "requires a module with a syntax error",
      plugins = {
        bad = plugin("name: bad\nbase: /bad", 'return require("lib.x")', { ["lib/x.lua"] = "\n\nreturn )" }),
      },
      code = "LOAD_FAILED",
      place = { "plugins/bad/lib/x.lua", 3 },
    },
    {
      name = "raises in its factory",
      plugins = { bad = plugin("name: bad\nbase: /bad", "return function()\n  error('no')\nend") },
      code = "FACTORY_FAILED",
      place = { "plugins/bad/plugin.lua", 2 },
    },
    {
      name = "raises in onInit",
      plugins = { bad = plugin("name: bad\nbase: /bad", "return { onInit = function() error('no') end }") },
      code = "INIT_FAILED",
      place = { "plugins/bad/plugin.lua", 1 },
    },
    {
      name = "raises in onInit after a wait",
      plugins = {
        bad = plugin(
          "name: bad\nbase: /bad",
          "return { onInit = function()\n  buntime.sleep(0.001)\n  error('no')\nend }"
        ),
      },
      code = "INIT_FAILED",
      place = { "plugins/bad/plugin.lua", 3 },
    },
    {
      name = "never ends its onInit",
      plugins = {
        bad = plugin("name: bad\nbase: /bad", "return { onInit = function() buntime.sleep(60) end }"),
      },
      env = { RUNTIME_INIT_TIMEOUT = "300ms" },
      code = "INIT_TIMEOUT",
      message = "onInit took longer than 300 ms (RUNTIME_INIT_TIMEOUT)",
    },
    {
      name = "raises in provides",
      plugins = { bad = plugin("name: bad\nbase: /bad", "return { provides = function() error('no') end }") },
      code = "PROVIDES_FAILED",
      place = { "plugins/bad/plugin.lua", 1 },
    },
    {
      name = "needs more memory than it may have",
      plugins = {
        bad = plugin(
          "name: bad\nbase: /bad\nmemory: 4mb",
          "local t = {} for i = 1, 1e8 do t[i] = i .. '' end"
        ),
      },
      code = "OUT_OF_MEMORY",
    },
    {
      name = "has a bad manifest",
      plugins = { bad = hello("bad", "x", "critical: maybe") },
      code = "MANIFEST_INVALID",
      place = { "plugins/bad/manifest.yaml", 3 },
    },
    {
      name = "needs a plugin that is not there",
      plugins = { bad = hello("bad", "x", "dependencies: ['@acme/db']") },
      code = "DEPENDENCY_MISSING",
      state = "skipped",
      message = '"bad" needs "@acme/db", which is not installed',
    },
    {
      name = "needs a plugin that is disabled",
      plugins = {
        bad = hello("bad", "x", "dependencies: [off]"),
        off = hello("off", "x", "enabled: false"),
      },
      code = "DEPENDENCY_UNAVAILABLE",
      state = "skipped",
      message = '"bad" needs "off", which is disabled',
    },
    {
      name = "needs a plugin that failed",
      plugins = {
        bad = hello("bad", "x", "dependencies: [worse]"),
        worse = plugin("name: worse", "error('no')"),
      },
      code = "DEPENDENCY_UNAVAILABLE",
      state = "skipped",
      message = '"bad" needs "worse", which failed',
      more = "plugins/worse/plugin.lua:1: no",
    },
    {
      name = "is in a cycle",
      plugins = {
        bad = hello("bad", "x", "dependencies: [b]"),
        b = hello("b", "x", "dependencies: [c]"),
        c = hello("c", "x", "dependencies: [bad]"),
      },
      code = "DEPENDENCY_CYCLE",
      message = "the dependencies form a cycle: bad → b → c → bad",
      more = "the dependencies form a cycle",
    },
    {
      name = "has the base of another",
      plugins = { bad = plugin("name: bad\nbase: /a", "return {}"), a = hello("a", "a") },
      code = "BASE_CONFLICT",
      message = 'base "/a" of "bad" is already taken by "a"',
    },
  }

  for _, case in ipairs(cases) do
    it(case.name .. ": answer, log and list say so, and the others serve", function()
      local plugins = { other = hello("other", "serves on") }
      for name, files in pairs(case.plugins) do
        plugins[name] = files
      end
      server.with({ plugins = plugins, env = case.env }, function(s)
        assert.equal("serves on", s:get("/other").body)
        assert.equal(404, s:get("/bad").status)

        local one
        for _, each in ipairs(s:get("/api/plugins"):json()) do
          one = each.name == "bad" and each or one
        end
        assert.equal(case.state or "failed", one.state)
        assert.equal(case.code, one.error.code)
        if case.message then
          assert.equal(case.message, one.error.message)
        end
        if case.place then
          assert.same(case.place, { one.error.file, one.error.line })
          local place = ("%s:%d:"):format(unpack(case.place))
          assert.equal(place, one.error.message:sub(1, #place))
        end

        local line = s:wait_log(function(line)
          return line.plugin == "bad" and line.level == "error"
        end)
        assert.equal(one.error.message, line.msg)
        assert.equal(case.code, line.code)
        s:allow_errors(one.error.message, case.more or one.error.message)

        local answer = s:reload()
        assert.equal(207, answer.status)
        for _, each in ipairs(answer:json().plugins) do
          if each.name == "bad" then
            assert.same({ one.state, case.code, one.error.message }, {
              each.status,
              each.error.code,
              each.error.message,
            })
          end
        end
      end)
    end)
  end

  it("because its name is taken: the first found wins, both paths are named", function()
    local plugins = { a = hello("same", "first"), b = hello("same", "second") }
    server.with({ plugins = plugins }, function(s)
      s:allow_errors("two plugins are named")
      assert.equal("first", s:get("/same").body)
      local first, second = unpack(s:get("/api/plugins"):json())
      assert.same({ "plugins/a", "loaded" }, { first.path, first.state })
      assert.same({ "plugins/b", "failed" }, { second.path, second.state })
      assert.equal("DUPLICATE_PLUGIN", second.error.code)
      assert.is_truthy(second.error.message:find("plugins/a", 1, true))
      assert.is_truthy(second.error.message:find("plugins/b", 1, true))
    end)
  end)

  it("tells every problem of its manifest, each with its place", function()
    local files = plugin("name: bad\nbase: nope\ncritical: 7\nversion: 1\n", "return {}")
    server.with({ plugins = { bad = files } }, function(s)
      s:allow_errors("plugins/bad/manifest.yaml")
      local message = s:get("/api/plugins/bad"):json().error.message
      for _, place in ipairs({ "2:7", "3:11", "4:10" }) do
        assert.is_truthy(message:find("plugins/bad/manifest.yaml:" .. place, 1, true), message)
      end
    end)
  end)
end)

describe("an error in the background of a plugin's life", function()
  after_each(server.stop_all)

  it("is logged for onServerStart and for timers, and the plugin serves on", function()
    local code = [[
      local routes = require("buntime.router").new()
      routes:get("/", function(c) return c:text("on") end)
      return {
        routes = routes,
        onInit = function()
          require("buntime.timer").after(0.001, function() error("in a timer") end)
        end,
        onServerStart = function() error("in onServerStart") end,
      }]]
    server.with({ plugins = { a = plugin("name: a\nbase: /a", code) } }, function(s)
      s:allow_errors("in a timer", "in onServerStart")
      for _, message in ipairs({ "in a timer", "in onServerStart" }) do
        local line = s:wait_log(message)
        assert.equal("a", line.plugin)
        assert.matches("plugins/a/plugin%.lua:%d+: ", line.msg)
      end
      assert.equal("on", s:get("/a").body)
    end)
  end)
end)
