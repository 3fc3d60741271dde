-- What computes too long without waiting is ended; everything else goes on.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

local LIMIT, PATIENCE = 0.4, 0.5
--- A wall clock for code that computes: how busy the machine is must not count.
local NOW = "local ffi = require('ffi') "
  .. "pcall(ffi.cdef, 'typedef struct { long s, ns; } spec_time; int clock_gettime(int, spec_time *);') "
  .. "local at = ffi.new('spec_time') local function now() ffi.C.clock_gettime(1, at) "
  .. "return tonumber(at.s) + tonumber(at.ns) / 1e9 end "

local ENV = { RUNTIME_WATCHDOG = "400ms" }

--- Runs fn with a server of these plugins; its errors are expected.
local function with(plugins, fn)
  server.with({ plugins = plugins, env = ENV }, function(s)
    s:allow_errors("without waiting")
    fn(s)
  end)
end

--- A plugin whose GET / runs `code`.
local function runs(name, code, lines)
  return plugin(
    ("name: %s\nbase: /%s\n%s"):format(name, name, lines or ""),
    ([[
    local routes = require("buntime.router").new()
    routes:get("/", function(c)
      %s
      return c:text("ended")
    end)
    routes:get("/fine", function(c) return c:text("fine") end)
    return { routes = routes }]]):format(code)
  )
end

--- Runs fn; its results after the seconds that it took.
local function timed(fn)
  local began = socket.gettime()
  local value = fn()
  return socket.gettime() - began, value
end

local function is_in_time(took)
  assert.is_true(took >= LIMIT - 0.01, "too early: " .. took)
  assert.is_true(took < LIMIT + PATIENCE, "too late: " .. took)
end

--- @type table<string, string> What a handler may do instead of answering.
local LOOPS = {
  ["an endless loop"] = "while true do end",
  ["one that swallows errors"] = "while true do pcall(function() while true do end end) end",
  ["one in a message handler"] = "local function f() while true do end end xpcall(f, f)",
  ["one in a coroutine"] = "coroutine.wrap(function() while true do end end)()",
  ["one after a wait"] = "buntime.sleep(0.01) while true do end",
  ["one in a pattern"] = "local _ = (('a'):rep(40)):find(('a-'):rep(40) .. 'b')",
  ["one that allocates"] = "while true do local t = { {}, {} } t[1].x = t end",
  ["one inside sort"] = "table.sort({ 3, 1, 2 }, function() while true do end end)",
  ["one in a metamethod"] = "local t = setmetatable({}, { __index = function() while true do end end }) "
    .. "local _ = t.x",
  ["one that raises for ever"] = "while true do pcall(error, 'x') end",
}

describe("the watchdog", function()
  after_each(server.stop_all)

  for title, code in pairs(LOOPS) do
    it("ends " .. title .. " in a handler with 503, and the plugin serves on", function()
      with({ bad = runs("bad", code), good = hello("good") }, function(s)
        local took, res = timed(function()
          return s:get("/bad")
        end)
        is_in_time(took)
        assert.equal(503, res.status)
        assert.equal("HANDLER_TIMEOUT", res:json().code)
        assert.equal("fine", s:get("/bad/fine").body)
        assert.equal(200, s:get("/good").status)
        assert.equal(1, s:starts())
      end)
    end)
  end

  it("says where it was, logs it, counts it and lists it", function()
    with({ bad = runs("bad", LOOPS["one in a coroutine"]) }, function(s)
      local res = s:get("/bad")
      local body = res:json()
      assert.matches("plugins/bad/plugin%.lua:3", body.traceback)
      assert.matches("called from", body.traceback)
      local line = s:wait_log("without waiting")
      assert.equal("bad", line.plugin)
      assert.equal("HANDLER_TIMEOUT", line.code)
      assert.equal(res.headers["x-request-id"], line.requestId)
      local fault = s:get("/api/plugins/bad/errors"):json()[1]
      assert.equal("HANDLER_TIMEOUT", fault.code)
      assert.equal(1, fault.count)
    end)
  end)

  it("says no more than that to strangers in production", function()
    local env = { RUNTIME_WATCHDOG = "400ms", RUNTIME_ENV = "production" }
    server.with({ plugins = { bad = runs("bad", "while true do end") }, env = env }, function(s)
      s:allow_errors("without waiting")
      local res = s:get("/bad")
      assert.equal(503, res.status)
      assert.equal("HANDLER_TIMEOUT", res:json().code)
      assert.is_nil(res:json().traceback)
    end)
  end)

  it("lets the others go on: requests that came meanwhile are answered after it", function()
    with({ bad = runs("bad", "while true do end"), good = hello("good") }, function(s)
      local statuses = http.parallel(8, function(i)
        return s:get(i == 1 and "/bad" or "/good").status
      end)
      assert.same({ 503, 200, 200, 200, 200, 200, 200, 200 }, statuses)
    end)
  end)

  it("ends a hook, and the request is not let through", function()
    local hook = plugin(
      "name: hook",
      [[return { onRequest = function(req) if req.path == "/good" then while true do end end end }]]
    )
    with({ hook = hook, good = hello("good"), other = hello("other") }, function(s)
      local took, res = timed(function()
        return s:get("/good")
      end)
      is_in_time(took)
      assert.equal(503, res.status)
      assert.equal("HANDLER_TIMEOUT", res:json().code)
      assert.equal(200, s:get("/other").status)
    end)
  end)

  it("ends a response hook, and the response goes out", function()
    local hook = plugin("name: hook", "return { onResponse = function() while true do end end }")
    with({ hook = hook, good = hello("good") }, function(s)
      assert.equal(200, s:get("/good").status)
    end)
  end)

  it("ends onInit: in a reload the old plugin stays", function()
    with({ a = hello("a", "old") }, function(s)
      s:write("a/plugin.lua", "return { onInit = function() while true do end end }")
      local took, res = timed(function()
        return s:reload()
      end)
      is_in_time(took)
      local item = res:json().plugins[1]
      assert.equal("kept_old", item.status)
      assert.equal("HANDLER_TIMEOUT", item.error.code)
      assert.equal("old", s:get("/a").body)
    end)
  end)

  it("ends the loading of a module at the start, and the others load", function()
    local plugins = { a = plugin("name: a", "while true do end"), b = hello("b") }
    local s = server.start({ plugins = plugins, env = ENV })
    s:allow_errors("without waiting")
    assert.equal(200, s:get("/b").status)
    assert.equal("failed", s:get("/api/plugins/a"):json().state)
    s:stop()
  end)

  it("ends a timer and onShutdown", function()
    local timed_out = plugin(
      "name: a",
      [[
      local timer = require("buntime.timer")
      return {
        onInit = function() timer.after(0.05, function() while true do end end) end,
        onShutdown = function() while true do end end,
      }]]
    )
    local s = server.start({ plugins = { a = timed_out, b = hello("b") }, env = ENV })
    s:allow_errors("without waiting")
    assert.is_truthy(s:wait_log("without waiting"))
    assert.equal(200, s:get("/b").status)
    s:stop()
  end)

  it("ends a service and tells its caller, who goes on", function()
    local provider = plugin(
      "name: provider",
      "return { provides = function() return { spin = function() while true do end end } end }"
    )
    local caller = plugin(
      "name: caller\nbase: /caller\ndependencies: [provider]",
      [[
      local routes = require("buntime.router").new()
      local provider
      routes:get("/", function(c)
        local ok, problem = pcall(provider.spin)
        return c:text(tostring(ok) .. " " .. tostring(problem))
      end)
      return { routes = routes, onInit = function(ctx) provider = ctx.getPlugin("provider") end }]]
    )
    with({ provider = provider, caller = caller }, function(s)
      local res = s:get("/caller")
      assert.equal(200, res.status)
      assert.matches("^false .*without waiting", res.body)
    end)
  end)

  it("does not end what is shorter, waits, or comes again and again", function()
    local code = NOW
      .. "local t = now() while now() - t < 0.3 do end "
      .. "buntime.sleep(0.1) t = now() while now() - t < 0.3 do end"
    server.with({ plugins = { a = runs("a", code) }, env = ENV }, function(s)
      assert.equal("ended", s:get("/a").body)
      local conn, over = s:connect(), socket.gettime() + 1
      while socket.gettime() < over do
        assert.equal("fine", conn:get("/a/fine").body)
      end
      conn:close()
    end)
  end)

  it("is off with 0", function()
    local code = "local t = os.clock() while os.clock() - t < 0.6 do end"
    server.with({ plugins = { a = runs("a", code) }, env = { RUNTIME_WATCHDOG = "0" } }, function(s)
      assert.equal("ended", s:get("/a").body)
    end)
  end)
end)
