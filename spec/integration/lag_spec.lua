-- What holds the loop for long, but ends, is named: plugin, file, line and duration.

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = fixtures.plugin

local ENV = { RUNTIME_LAG_WARN = "100ms" }
--- Computes for so many seconds of the wall.
local SPIN = [[
local ffi = require("ffi")
pcall(ffi.cdef, "typedef struct { long s, ns; } lag_time; int clock_gettime(int, lag_time *);")
local at = ffi.new("lag_time")
local function now()
  ffi.C.clock_gettime(1, at)
  return tonumber(at.s) + tonumber(at.ns) / 1e9
end
return function(seconds)
  local till = now() + seconds
  while now() < till do end
end]]

local function spinning(name, code)
  local folder = plugin(("name: %s\nbase: /%s\n"):format(name, name), code)
  folder["spin.lua"] = SPIN
  return folder
end

local SLOW = [[
local spin = require("spin")
local routes = require("buntime.router").new()
routes:get("/", function(c)
  spin(0.3)
  return c:text("ended")
end)
routes:get("/fine", function(c) return c:text("fine") end)
routes:get("/later", function(c)
  require("buntime.timer").after(0.001, function() spin(0.3) end)
  return c:text("later")
end)
return { routes = routes }]]

local function warnings(s)
  local found = {}
  for _, line in ipairs(s:log_lines()) do
    if line.level == "warn" and line.msg:find("held the loop", 1, true) then
      found[#found + 1] = line
    end
  end
  return found
end

describe("the lag meter", function()
  after_each(server.stop_all)

  it("names who held the loop, where and for how long, and counts", function()
    server.with({ plugins = { slow = spinning("slow", SLOW) }, env = ENV }, function(s)
      assert.equal("fine", s:get("/slow/fine").body)
      local before = s:get("/api/plugins/slow"):json().lag
      assert.same({ count = 0, maxMs = 0, last = require("cjson").null }, before)

      local id = s:get("/slow").headers["x-request-id"]
      local found = warnings(s)
      assert.equal(1, #found)
      assert.equal("slow", found[1].plugin)
      assert.equal(id, found[1].requestId)
      assert.equal("request", found[1].phase)
      assert.matches("plugins/slow/spin%.lua$", found[1].file)
      assert.is_true(found[1].line >= 5 and found[1].line <= 11, "line " .. found[1].line)
      assert.is_true(found[1].ms >= 250, "only " .. found[1].ms)

      local lag = s:get("/api/plugins/slow"):json().lag
      assert.equal(1, lag.count)
      assert.equal(found[1].ms, lag.maxMs)
      assert.same({ file = found[1].file, line = found[1].line, ms = found[1].ms }, lag.last)
    end)
  end)

  it("warns once for many, but counts all", function()
    server.with({ plugins = { slow = spinning("slow", SLOW) }, env = ENV }, function(s)
      for _ = 1, 3 do
        s:get("/slow")
      end
      assert.equal(3, s:get("/api/plugins/slow"):json().lag.count)
      assert.equal(1, #warnings(s))
    end)
  end)

  it("sees timers as well", function()
    server.with({ plugins = { slow = spinning("slow", SLOW) }, env = ENV }, function(s)
      assert.equal("later", s:get("/slow/later").body)
      assert.is_true(process.eventually(function()
        return s:get("/api/plugins/slow"):json().lag.count == 1
      end, 10))
    end)
  end)

  it("is off with 0", function()
    server.with({ plugins = { slow = spinning("slow", SLOW) }, env = { RUNTIME_LAG_WARN = "0" } }, function(s)
      s:get("/slow")
      assert.equal(0, s:get("/api/plugins/slow"):json().lag.count)
      assert.equal(0, #warnings(s))
    end)
  end)
end)
