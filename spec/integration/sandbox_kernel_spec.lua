--- RUNTIME_SANDBOX, and what is told when the kernel lacks a part of the sandbox.

local process = require("spec.support.process")
local server = require("spec.support.server")

local LACK = process.absolute("spec/support/lack.lua")
local LANDLOCK = "444,445,446"

local function without_landlock(mode)
  return server.start({
    command = { "luajit", LACK, LANDLOCK, server.binary(), "serve" },
    env = { RUNTIME_SANDBOX = mode, RUNTIME_WORKER_DIRS = "apps" },
    files = { ["apps/hello/index.lua"] = 'return { fetch = function() return "hello" end }' },
  })
end

--- Lines that speak of the sandbox.
local function told(s)
  local lines = {}
  for _, line in ipairs(s:log_lines()) do
    if tostring(line.msg):find("sandbox") or tostring(line.msg):find("RUNTIME_SANDBOX") then
      lines[#lines + 1] = line
    end
  end
  return lines
end

describe("a kernel without Landlock", function()
  after_each(server.stop_all)

  it("is told of once, and served on", function()
    local s = without_landlock()
    assert.equal(200, s:get("/api/health/ready").status)
    assert.equal("hello", s:get("/hello/").body)
    s:reload()
    local lines = told(s)
    s:stop()
    assert.equal(1, #lines)
    assert.equal("warn", lines[1].level)
    assert.equal("worker apps: this kernel has no sandbox for files (Landlock)", lines[1].msg)
  end)

  it("is not ready when the sandbox is required", function()
    local s = without_landlock("require")
    local res = s:get("/api/health/ready")
    assert.equal(503, res.status)
    assert.same(
      { "RUNTIME_SANDBOX=require: this kernel has no sandbox for files (Landlock)" },
      res:json().reasons
    )
    assert.equal(200, s:get("/api/health/live").status)
    res = s:get("/hello/")
    assert.equal(503, res.status)
    assert.equal("SANDBOX_UNAVAILABLE", res:json().code)
    s:allow_errors("RUNTIME_SANDBOX=require")
    assert.equal(2, #told(s)) -- at the start, and the request
    s:stop()
  end)
end)

describe("this kernel", function()
  after_each(server.stop_all)

  it("is all that is required", function()
    local s = server.start({ env = { RUNTIME_SANDBOX = "require" } })
    assert.equal(200, s:get("/api/health/ready").status)
    assert.same({}, told(s))
    s:stop()
  end)

  it("is not asked when the sandbox is off, and that is told", function()
    local s = server.start({ env = { RUNTIME_SANDBOX = "off" } })
    assert.equal(200, s:get("/api/health/ready").status)
    local lines = told(s)
    s:stop()
    assert.equal(1, #lines)
    assert.equal("warn", lines[1].level)
  end)
end)
