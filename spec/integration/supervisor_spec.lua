-- Above the server process stands one that starts it again, whatever happens to it.

local ffi = require("ffi")
local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- A sanitizer would make a report, and an exit, of the crashes that are wanted here.
local ENV = {
  RUNTIME_WATCHDOG = "400ms",
  ASAN_OPTIONS = "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_abort=0:detect_leaks=0",
}

local CRASH = "require('ffi').cast('int *', 0)[0] = 1"
--- A lock taken twice: what waits for a descriptor or for time, a signal would end.
local BLOCK = "local ffi = require('ffi') ffi.cdef('int pthread_mutex_lock(void *);') "
  .. "local lock = ffi.new('long[8]') ffi.C.pthread_mutex_lock(lock) ffi.C.pthread_mutex_lock(lock)"
--- A wall clock for code that computes: how busy the machine is must not count.
local NOW = "local ffi = require('ffi') "
  .. "pcall(ffi.cdef, 'typedef struct { long s, ns; } spec_time; int clock_gettime(int, spec_time *);') "
  .. "local at = ffi.new('spec_time') local function now() ffi.C.clock_gettime(1, at) "
  .. "return tonumber(at.s) + tonumber(at.ns) / 1e9 end "
local BUSY = NOW .. "local t = now() while now() - t < 0.2 do end"
local SPIN = "while true do end"

--- A plugin whose GET / runs `code`, and GET /fine does not.
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

local function start(plugins, env)
  local all = {}
  for name, value in pairs(ENV) do
    all[name] = value
  end
  for name, value in pairs(env or {}) do
    all[name] = value
  end
  local s = server.start({ plugins = plugins, env = all })
  s:allow_errors("the server process", "took the server down")
  return s
end

--- A request that brings the server down, under an id of its own.
local function hit(s, target, id)
  local ok = pcall(s.get, s, target, { headers = { ["X-Request-Id"] = id or "the-request" } })
  assert.is_false(ok, target .. " was answered")
end

local function wait_starts(s, count)
  assert.is_truthy(process.eventually(function()
    return s:starts() >= count
  end, 10), "start " .. count .. " did not come:\n" .. s:log())
end

local function is_alive(pid)
  return ffi.C.kill(pid, 0) == 0
end

describe("the supervisor", function()
  after_each(server.stop_all)

  it("starts the server again after a crash; the next request is answered", function()
    local s = start({ bad = runs("bad", CRASH), good = hello("good") })
    local first = s:pid()
    hit(s, "/bad")
    local began = socket.gettime()
    assert.equal(200, s:get("/good").status)
    assert.is_true(socket.gettime() - began < 2)
    assert.are_not.equal(first, s:pid())
    assert.is_truthy(process.eventually(function()
      return not is_alive(first)
    end))
    local line = s:wait_log("died of signal 11")
    assert.equal("bad", line.plugin)
    assert.equal("the-request", line.requestId)
    assert.equal("request", line.phase)
    s:stop()
  end)

  it("names the innermost plugin of a call", function()
    local provider = plugin(
      "name: provider",
      ("return { provides = function() return { go = function() %s end } end }"):format(CRASH)
    )
    local caller = plugin(
      "name: caller\nbase: /caller\ndependencies: [provider]",
      [[
      local routes = require("buntime.router").new()
      local provider
      routes:get("/", function(c) return c:text(tostring(provider.go())) end)
      return { routes = routes, onInit = function(ctx) provider = ctx.getPlugin("provider") end }]]
    )
    local s = start({ provider = provider, caller = caller })
    hit(s, "/caller")
    assert.equal("provider", s:wait_log("died of signal 11").plugin)
    wait_starts(s, 2)
    s:stop()
  end)

  it("counts an exit from inside as well", function()
    local exit = "local ffi = require('ffi') ffi.cdef('void _exit(int);') ffi.C._exit(0)"
    local s = start({ bad = runs("bad", exit), good = hello("good") })
    hit(s, "/bad")
    assert.equal(200, s:get("/good").status)
    assert.equal("bad", s:wait_log("ended by itself with status 0").plugin)
    s:stop()
  end)

  describe("quarantines a plugin", function()
    it("that took the server down three times in a minute, until its files change", function()
      local s = start({ bad = runs("bad", CRASH, "critical: true"), good = hello("good") })
      for i = 1, 3 do
        assert.equal("fine", s:get("/bad/fine").body)
        hit(s, "/bad")
        wait_starts(s, i + 1)
      end
      assert.equal("bad", s:wait_log("quarantined").plugin)
      assert.equal(503, s:get("/bad/fine").status) -- critical; else 404
      assert.equal(200, s:get("/good").status)
      local record = s:get("/api/plugins/bad"):json()
      assert.equal("quarantined", record.state)
      assert.equal("QUARANTINED", record.error.code)
      assert.equal(503, s:get("/api/health/ready").status)

      s:reload() -- the same files: no
      assert.equal("quarantined", s:get("/api/plugins/bad"):json().state)
      for file, text in pairs(runs("bad", "", "critical: true")) do
        s:write("bad/" .. file, text)
      end
      assert.equal(200, s:reload().status)
      assert.equal("ended", s:get("/bad").body)
      assert.equal(200, s:get("/api/health/ready").status)
      s:stop()
    end)

    it("that crashes while it is loaded, so that the server comes up", function()
      local bad = plugin("name: bad", ("return { onInit = function() %s end }"):format(CRASH))
      local s = start({ bad = bad, good = hello("good") })
      assert.equal(200, s:get("/good").status)
      assert.equal("quarantined", s:get("/api/plugins/bad"):json().state)
      assert.equal("onInit", s:wait_log("died of signal 11").phase)
      assert.equal(1, s:starts())
      s:stop()
    end)

    it("but none that only happened to run when the process was killed from outside", function()
      local s = start({ a = runs("a", BUSY) })
      for i = 1, 4 do
        local conn = s:connect()
        conn:send(http.format("GET", "/a", nil, s.port))
        socket.sleep(0.1)
        ffi.C.kill(s:pid(), 9)
        wait_starts(s, i + 1)
        conn:close()
      end
      assert.equal("ended", s:get("/a").body)
      s:stop()
    end)
  end)

  describe("ends a loop that stands still", function()
    for title, code in pairs({ ["in compiled code"] = SPIN, ["in C"] = BLOCK }) do
      it(title .. ", and says what it was doing", function()
        local s = start({ bad = runs("bad", code, "jit: true"), good = hello("good") })
        local began = socket.gettime()
        hit(s, "/bad")
        local took = socket.gettime() - began
        assert.is_true(took > 0.6 and took < 2.5, "took " .. took)
        assert.equal(200, s:get("/good").status)
        local line = s:wait_log("stood still")
        assert.equal("bad", line.plugin)
        assert.equal("the-request", line.requestId)
        assert.equal("request", line.phase)
        s:stop()
      end)
    end

    it("but not one that is idle, or busy with many short things", function()
      local s = start({ a = hello("a") })
      socket.sleep(1.5)
      local conn, over = s:connect(), socket.gettime() + 1.5
      while socket.gettime() < over do
        assert.equal(200, conn:get("/a").status)
      end
      conn:close()
      assert.equal(1, s:starts())
      s:stop()
    end)
  end)

  it("starts the server again when a plugin closes its descriptors", function()
    local close = "local ffi = require('ffi') ffi.cdef('int close(int);') "
      .. "for fd = 0, 100 do ffi.C.close(fd) end"
    local s = start({ bad = runs("bad", close), good = hello("good") })
    hit(s, "/bad")
    wait_starts(s, 2)
    assert.equal(200, s:get("/good").status)
    assert.is_truthy(s:wait_log("the server process"))
    s:stop()
  end)

  it("is not reached by what a plugin does to its process group", function()
    local kill = "local ffi = require('ffi') ffi.cdef('int kill(int, int);') ffi.C.kill(0, 9)"
    local s = start({ bad = runs("bad", kill), good = hello("good") })
    hit(s, "/bad")
    assert.equal(200, s:get("/good").status)
    s:stop()
  end)

  it("loses no connection that comes while it starts the server again", function()
    local s = start({ good = hello("good") })
    ffi.C.kill(s:pid(), 9)
    local statuses = http.parallel(50, function()
      return s:get("/good").status
    end)
    for i = 1, 50 do
      assert.equal(200, statuses[i])
    end
    assert.equal(2, s:starts())
    s:stop()
  end)

  it("takes the server process with it when it is killed", function()
    local s = start({ good = hello("good") })
    local pid = s:pid()
    assert.is_true(is_alive(pid))
    s.process:kill("KILL")
    assert.is_truthy(process.eventually(function()
      return not is_alive(pid)
    end))
    s:discard()
  end)

  describe("hands signals on:", function()
    it("SIGTERM while a function computes waits for its end, and exits 0", function()
      local s = start({ bad = runs("bad", SPIN) })
      s:allow_errors("without waiting")
      local conn = s:connect()
      conn:send(http.format("GET", "/bad", nil, s.port))
      socket.sleep(0.1)
      s.process:kill("TERM")
      assert.equal(503, conn:response().status)
      assert.equal(0, s.process:wait(10))
      s:stop()
    end)

    it("SIGTERM while nothing can be ended is exit status 1, and no new start", function()
      local s = start({ bad = runs("bad", SPIN, "jit: true") })
      local conn = s:connect()
      conn:send(http.format("GET", "/bad", nil, s.port))
      socket.sleep(0.1)
      s.process:kill("TERM")
      assert.equal(1, s.process:wait(10))
      assert.equal("bad", s:wait_log("stood still").plugin)
      assert.equal(1, s:starts())
      s:discard()
    end)

    it("a second SIGTERM ends at once what does not end", function()
      local s = start({ bad = runs("bad", BLOCK) }, { RUNTIME_WATCHDOG = "0" })
      local conn = s:connect()
      conn:send(http.format("GET", "/bad", nil, s.port))
      socket.sleep(0.1)
      local began = socket.gettime()
      s.process:kill("TERM")
      socket.sleep(0.1)
      s.process:kill("TERM")
      assert.equal(1, s.process:wait(10))
      assert.is_true(socket.gettime() - began < 3)
      s:discard()
    end)

    it("SIGTERM while plugins load exits 0", function()
      local slow = plugin("name: a", "return { onInit = function() buntime.sleep(20) end }")
      local s = server.start({ plugins = { a = slow }, env = ENV, port = 0, wait = false })
      socket.sleep(0.5)
      s.process:kill("TERM")
      assert.equal(0, s.process:wait(10))
      s:stop()
    end)

    it("SIGHUP reloads, also after a crash", function()
      local s = start({ bad = runs("bad", CRASH), good = hello("good", "old") })
      hit(s, "/bad")
      assert.equal("old", s:get("/good").body)
      s:write("good/plugin.lua", fixtures.answers("new"))
      s.process:kill("HUP")
      assert.is_truthy(process.eventually(function()
        return s:get("/good").body == "new"
      end))
      s:stop()
    end)
  end)

  it("ends with exit status 1 and says why when the port is taken", function()
    local taken = assert(socket.bind("127.0.0.1", 0))
    local _, port = taken:getsockname()
    local code, _, err = server.run({ "serve" }, { port = port })
    assert.equal(1, code)
    assert.matches("cannot listen on 127%.0%.0%.1:" .. port .. ": Address already in use", err)
    local _, lines = err:gsub("\n", "\n")
    assert.equal(1, lines)
    taken:close()
  end)
end)
