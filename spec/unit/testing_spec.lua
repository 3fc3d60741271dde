local Router = require("buntime.router")
local buntime = require("buntime")
local testing = require("buntime.testing")
local timers = require("buntime.timer")

local function raises(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_truthy(tostring(err):find(message, 1, true), tostring(err))
  return tostring(err)
end

local function echo()
  local routes = Router.new()
  routes:all("/echo", function(c)
    return c:json({
      method = c.req.method,
      body = c.req.body,
      type = c.req:header("content-type"),
      a = c.req:query("a"),
      ip = c.req.ip,
      id = c.req.id,
      x = c.req:header("x"),
    })
  end)
  return routes
end

describe("routes:request", function()
  for title, case in pairs({
    ["a GET"] = { "/echo", nil, { method = "GET", body = "" } },
    ["a query"] = { "/echo?a=b%20c", nil, { a = "b c" } },
    ["a body"] = { "/echo", { body = "x" }, { method = "POST", body = "x" } },
    ["JSON"] = { "/echo", { json = { 1 } }, { method = "POST", body = "[1]", type = "application/json" } },
    ["JSON with a type of its own"] = {
      "/echo",
      { json = {}, headers = { ["Content-Type"] = "a/b" } },
      { type = "a/b" },
    },
    ["a method"] = { "/echo", { method = "put", body = "x" }, { method = "PUT", body = "x" } },
    ["headers"] = { "/echo", { headers = { X = { "1", 2 } } }, { x = "1, 2" } },
    ["address and id"] = { "/echo", { ip = "::1", id = "abc" }, { ip = "::1", id = "abc" } },
  }) do
    it("makes " .. title, function()
      local res = echo():request(case[1], case[2])
      assert.equal(200, res.status)
      local got = res:json()
      for name, value in pairs(case[3]) do
        assert.equal(value, got[name])
      end
      assert.equal(got.id, res.headers["X-Request-Id"])
    end)
  end

  it("answers 400 to a path that the server refuses", function()
    for _, path in ipairs({ "/a%00b", "/%2e%2e%2f", "" }) do
      assert.equal(400, echo():request(path).status, path)
    end
  end)

  for title, case in pairs({
    ["a path that is none"] = { { 5 }, "request: path must be a string, got number" },
    ["options that are none"] = { { "/", "POST" }, "request: the second argument must be a table" },
    ["an unknown option"] = { { "/", { methods = "x" } }, 'request: "methods" is not known (known: method,' },
    ["a bad header"] = { { "/", { headers = { a = "b\nc" } } }, "control character" },
  }) do
    it("refuses " .. title .. " at the caller's line", function()
      local err = raises(case[2], function()
        return echo():request(unpack(case[1]))
      end)
      assert.matches("testing_spec.lua:%d+: ", err)
    end)
  end

  it("raises for an answer that cannot be JSON as the answer's text", function()
    local res = echo():request("/echo")
    res.body = "{"
    raises("response:json()", res.json, res)
  end)
end)

describe("testing.context", function()
  it("has a pool that reads as the real one does", function()
    local pool = testing.context({ pool = { workers = 3 } }).pool
    assert.same({ 3, 0 }, { pool.workers, pool.queued })
    assert.same({ 3, 0 }, { pool().workers, pool().queued })
    assert.equal(0, testing.context().pool.size)
  end)

  it("has what onInit gets", function()
    local ctx = testing.context({
      config = { ttl = 5 },
      env = { KEY = "v" },
      plugin = { name = "@acme/x", base = "/x" },
    })
    assert.equal(5, ctx.config.ttl)
    assert.equal("v", ctx.env.KEY)
    assert.is_nil(ctx.env.OTHER)
    assert.equal("@acme/x", ctx.plugin.name)
    assert.equal("/x", ctx.plugin.base)
    assert.equal(buntime.version, ctx.runtime.version)
    assert.equal("/api", ctx.runtime.api)
    assert.is_table(ctx.globalConfig.pluginDirs)
    raises("buntime.env is read-only", function()
      ctx.env.KEY = "w"
    end)
    assert.is_table(testing.context().config)
  end)

  it("records what is logged", function()
    local ctx = testing.context()
    ctx.logger.info("hello", { a = 1 })
    ctx.logger.error("bad")
    assert.same({
      { level = "info", message = "hello", fields = { a = 1 } },
      { level = "error", message = "bad" },
    }, ctx.logger.lines)
    raises("log.warn: argument 2 (fields) must be a table", ctx.logger.warn, "x", "y")
  end)

  it("gives the plugins it was given, nil for an absent one, and raises for others", function()
    local db = { get = function() end }
    local ctx = testing.context({ plugins = { ["@acme/db"] = db, ["@acme/gone"] = false } })
    assert.equal(db, ctx.getPlugin("@acme/db"))
    assert.is_nil(ctx.getPlugin("@acme/gone"))
    local err = raises('dependencies: ["@acme/other"]', function()
      local other = ctx.getPlugin("@acme/other")
      return other
    end)
    assert.matches("testing_spec.lua:%d+: ", err)
  end)

  it("has auth.require, which lets through what it was told", function()
    local function status(options)
      local routes = Router.new()
      routes:use(testing.context(options).auth.require("plugins:read"))
      routes:get("/x", function(c)
        return c.var.principal
      end)
      local res = routes:request("/x")
      return res.status, res:text()
    end
    assert.same({ 200, "root" }, { status() })
    assert.equal(200, (status({ permissions = { "plugins:read" } })))
    assert.equal(403, (status({ permissions = {} })))
  end)
end)

describe("testing.clock", function()
  local clock, log

  before_each(function()
    clock, log = testing.clock(), {}
  end)

  after_each(function()
    clock:restore()
  end)

  local function note(word)
    return function()
      log[#log + 1] = word .. "@" .. clock.now
    end
  end

  it("runs timers in the order of their time", function()
    timers.after(3, note("c"))
    timers.after(1, note("a"))
    timers.after(1, note("b"))
    clock:advance(0.5)
    assert.same({}, log)
    clock:advance(5)
    assert.same({ "a@1", "b@1", "c@3" }, log)
    assert.equal(5.5, clock.now)
    assert.equal(0, clock:pending())
  end)

  it("runs every() each time, until it is stopped", function()
    local t = timers.every(10, note("x"))
    clock:advance(25)
    assert.same({ "x@10", "x@20" }, log)
    assert.is_true(t:stop())
    assert.is_false(t:stop())
    clock:advance(100)
    assert.equal(2, #log)
  end)

  it("runs what a timer starts, if it is due", function()
    timers.after(1, function()
      timers.after(1, note("inner"))
    end)
    clock:advance(2)
    assert.same({ "inner@2" }, log)
  end)

  it("raises what a timer raises", function()
    timers.after(1, function()
      error("boom")
    end)
    raises("boom", clock.advance, clock, 1)
  end)

  it("moves when a request sleeps", function()
    local routes = Router.new()
    routes:get("/slow", function()
      buntime.sleep(5)
      return "done"
    end)
    timers.after(4, note("meanwhile"))
    assert.equal("done", routes:request("/slow"):text())
    assert.equal(5, clock.now)
    assert.same({ "meanwhile@4" }, log)
  end)

  it("holds up sleeps inside run()", function()
    clock:run(function(word)
      while true do
        buntime.sleep(60)
        note(word)()
      end
    end, "tick")
    clock:advance(59)
    assert.same({}, log)
    clock:advance(61)
    assert.same({ "tick@60", "tick@120" }, log)
  end)

  it("is one at a time, and gives the real time back", function()
    raises("there is a clock already", testing.clock)
    local fake = timers.after
    clock:restore()
    assert.are_not.equal(fake, timers.after)
    clock:restore()
    clock = testing.clock()
    assert.equal(0, clock.now)
  end)

  it("checks its arguments as the real functions do", function()
    raises("timer.after: seconds must be a number that is not negative, got -1", timers.after, -1, note("x"))
    raises("timer.every: expected a function, got string", timers.every, 1, "x")
    raises("buntime.sleep: seconds must be", buntime.sleep, 0 / 0)
    raises("clock:advance: seconds must be", clock.advance, clock, "x")
  end)
end)
