-- SIGTERM and SIGINT drain and exit 0; SIGHUP reloads.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- A plugin that notes its end in the file "journal", after running `ending`.
local function noter(name, lines, ending)
  return plugin(
    ("name: %s\nbase: /%s\n%s"):format(name, name, lines or ""),
    ([[
    local routes = require("buntime.router").new()
    routes:get("/slow", function(c)
      buntime.sleep(tonumber(c.req:query("seconds")))
      return c:text("slept")
    end)
    return {
      routes = routes,
      onShutdown = function()
        %s
        local file = assert(io.open("journal", "a"))
        file:write(%q, " ")
        file:close()
      end,
    }]]):format(ending or "", name)
  )
end

local function begin(s, target)
  local conn = s:connect()
  conn:send(http.format("GET", target, nil, s.port))
  assert(process.eventually(function()
    return s:get("/api/plugins/a"):json().calls > 0
  end))
  return conn
end

local function journal(s)
  return process.read(s.dir .. "/journal")
end

describe("a signal", function()
  after_each(server.stop_all)

  for _, signal in ipairs({ "TERM", "INT" }) do
    it("SIG" .. signal .. " ends with onShutdown in reverse load order, and exit status 0", function()
      local s = server.start({
        plugins = { a = noter("a", "dependencies: [c]"), b = noter("b"), c = noter("c") },
      })
      s.process:kill(signal)
      assert.equal(0, s.process:wait(20))
      assert.equal("a c b ", journal(s))
      assert.is_truthy(s:wait_log("SIG" .. signal))
      assert.equal("stopped", s:log_lines()[#s:log_lines()].msg)
      s:stop()
    end)

    it("SIG" .. signal .. " lets requests end first, and takes no new ones", function()
      local s = server.start({ plugins = { a = noter("a") } })
      local conn = begin(s, "/a/slow?seconds=0.5")
      s.process:kill(signal)
      assert.is_truthy(process.eventually(function()
        return not pcall(http.connect, s.port)
      end))
      assert.is_nil(journal(s))
      local res = conn:response()
      assert.equal("slept", res.body)
      assert.equal(0, s.process:wait(20))
      assert.equal("a ", journal(s))
      s:stop()
    end)
  end

  it("cuts requests that take too long with 503, and still shuts the plugins down", function()
    local s = server.start({
      plugins = { a = noter("a") },
      env = { RUNTIME_SHUTDOWN_TIMEOUT = "600ms" },
    })
    s:allow_errors("the drain took too long")
    local conn, began = begin(s, "/a/slow?seconds=60"), socket.gettime()
    s.process:kill("TERM")
    local res = conn:response()
    assert.equal(503, res.status)
    assert.is_string(res:json().code)
    assert.equal(0, s.process:wait(20))
    assert.is_true(socket.gettime() - began < 3)
    assert.equal("a ", journal(s))
    s:stop()
  end)

  it("gives each onShutdown its share: one that hangs or raises stops no other", function()
    local s = server.start({
      plugins = {
        a = noter("a"),
        b = noter("b", nil, "buntime.sleep(60)"),
        c = noter("c", nil, "error('in onShutdown')"),
        d = noter("d", nil, "buntime.sleep(0.05)"),
      },
      env = { RUNTIME_SHUTDOWN_TIMEOUT = "1200ms" },
    })
    s:allow_errors("onShutdown took longer", "in onShutdown")
    local began = socket.gettime()
    s.process:kill("TERM")
    assert.equal(0, s.process:wait(20))
    assert.is_true(socket.gettime() - began < 3)
    assert.equal("d a ", journal(s))
    assert.equal("c", s:wait_log("in onShutdown").plugin)
    assert.equal("b", s:wait_log("onShutdown took longer").plugin)
    s:stop()
  end)

  it("lets onShutdown use what the plugin needs: providers are still there", function()
    local s = server.start({
      plugins = {
        cache = plugin(
          "name: cache",
          'return { provides = function() return { word = function() return "flushed" end } end }'
        ),
        user = plugin(
          "name: user\ndependencies: [cache]",
          [[
          local cache
          return {
            onInit = function(ctx) cache = ctx.getPlugin("cache") end,
            onShutdown = function()
              local file = assert(io.open("journal", "w"))
              file:write(cache.word())
              file:close()
            end,
          }]]
        ),
      },
    })
    s.process:kill("TERM")
    assert.equal(0, s.process:wait(20))
    assert.equal("flushed", journal(s))
    s:stop()
  end)

  it("makes health say that it stops while requests drain", function()
    local s = server.start({ plugins = { a = noter("a") } })
    local watcher, conn = s:connect(), begin(s, "/a/slow?seconds=0.5")
    assert.equal(200, watcher:get("/api/health/ready").status)
    s.process:kill("TERM")
    assert.is_truthy(s:wait_log("SIGTERM"))
    local ok, res = pcall(watcher.get, watcher, "/api/health/ready")
    if ok then -- an idle connection may also have been closed
      assert.equal(503, res.status)
      assert.matches("shutting down", res.body)
    end
    watcher:close()
    assert.equal(200, conn:response().status)
    s:stop()
  end)

  it("that comes again ends at once", function()
    local s = server.start({ plugins = { a = noter("a") } })
    local conn = begin(s, "/a/slow?seconds=60")
    local began = socket.gettime()
    s.process:kill("TERM")
    assert.is_truthy(s:wait_log("draining"))
    s.process:kill("TERM")
    assert.equal(0, s.process:wait(20))
    assert.is_true(socket.gettime() - began < 5)
    conn:close()
    s:stop()
  end)

  it("in the middle of a reload ends as well", function()
    local slow = plugin("name: b", "return { onInit = function() buntime.sleep(60) end }")
    local s = server.start({
      plugins = { a = noter("a") },
      env = { RUNTIME_SHUTDOWN_TIMEOUT = "1s" },
    })
    for file, text in pairs(slow) do
      s:write("b/" .. file, text)
    end
    s:allow_errors("the drain took too long")
    local conn = s:connect()
    conn:send(http.format("POST", "/api/plugins/reload", nil, s.port))
    assert.equal(200, s:get("/api/health/live").status)
    s.process:kill("TERM")
    assert.equal(0, s.process:wait(20))
    assert.equal("a ", journal(s))
    conn:close()
    s:stop()
  end)

  it("SIGHUP reloads", function()
    server.with({ plugins = { a = hello("a", "old") } }, function(s)
      assert.equal("old", s:get("/a").body)
      s:write("a/plugin.lua", fixtures.answers("new"))
      s.process:kill("HUP")
      assert.is_truthy(process.eventually(function()
        return s:get("/a").body == "new"
      end))
      assert.is_truthy(s:wait_log("reloaded"))
    end)
  end)
end)
