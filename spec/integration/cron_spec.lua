-- Schedules in a running server. The zone is made so that its minute ends a few seconds from now.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local plugin = fixtures.plugin

--- A plugin that notes each run of a schedule in the file "runs".
local function noting(options)
  return plugin("name: nightly\nbase: /nightly\n", ([[
local cron = require("buntime.cron")
local routes = require("buntime.router").new()
local job
routes:get("/", function(c)
  return c:json(job.status)
end)
return {
  routes = routes,
  onInit = function()
    job = cron.schedule("* * * * *", function()
      local file = assert(io.open("runs", "a"))
      file:write("run\n")
      file:close()
    end, { %s })
  end,
}
]]):format(options or ""))
end

local function runs(s)
  local file = io.open(s.dir .. "/runs")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return select(2, text:gsub("\n", ""))
end

local function wait_until(at)
  local left = at - socket.gettime()
  if left > 0 then
    socket.sleep(left)
  end
end

describe("cron", function()
  after_each(server.stop_all)

  it("runs a time once, whatever reloads come in between", function()
    local at = math.floor(socket.gettime()) + 5
    server.with({ plugins = { nightly = noting() }, env = { TZ = fixtures.zone_ending(at) } }, function(s)
      local status = s:get("/nightly/"):json()
      assert.equal(at, status.next)
      assert.equal(0, status.runs)
      wait_until(at - 0.5)
      assert.equal(0, runs(s))
      while socket.gettime() < at + 1 do
        local res = s:reload()
        assert.equal(200, res.status, res.body)
        assert.same({}, res:json().leaks)
      end
      assert.equal(1, runs(s))

      local known = s:get("/api/plugins/nightly"):json().cron
      assert.equal(1, #known)
      assert.equal("* * * * *", known[1].line)
      assert.matches("^plugin.lua:%d+$", known[1].name)
      assert.equal(1, known[1].runs)
      assert.equal(0, known[1].failures)
      assert.is_false(known[1].running)
      assert.equal(at + 60, known[1].next)
      assert.is_true(math.abs(known[1].last - at) < 1)
      assert.equal(require("cjson").null, known[1].error)
      assert.equal(1, s:get("/nightly/"):json().runs)
    end)
  end)

  it("runs in the plugin that lives, not in one that fails to load", function()
    local at = math.floor(socket.gettime()) + 4
    server.with({ plugins = { nightly = noting() }, env = { TZ = fixtures.zone_ending(at) } }, function(s)
      s:allow_errors("broken")
      local broken = noting()["plugin.lua"]:gsub("\n  end,\n}\n$", '\n    error("broken")\n  end,\n}\n')
      s:write("nightly/plugin.lua", broken)
      assert.equal(207, s:reload().status)
      wait_until(at + 0.5)
      assert.equal(1, runs(s))
    end)
  end)

  it("logs an error, and tells of it", function()
    local at = math.floor(socket.gettime()) + 4
    local files = noting('name = "job"')
    files["plugin.lua"] = files["plugin.lua"]:gsub("local file = .-file:close%(%)", 'error("no disk")')
    server.with({ plugins = { nightly = files }, env = { TZ = fixtures.zone_ending(at) } }, function(s)
      s:allow_errors("no disk")
      local line = s:wait_log("no disk", 10)
      assert.equal("nightly", line.plugin)
      local known = s:get("/api/plugins/nightly"):json().cron[1]
      assert.equal("job", known.name)
      assert.equal(1, known.failures)
      assert.matches("no disk$", known.error)
      assert.equal(1, s:get("/api/plugins/nightly/errors"):json()[1].count)
    end)
  end)

  it("a wrong line fails the plugin, with the place", function()
    local files = noting()
    files["plugin.lua"] = files["plugin.lua"]:gsub("%* %* %* %* %*", "61 * * * *")
    server.with({ plugins = { nightly = files } }, function(s)
      s:allow_errors("61 * * * *")
      local known = s:get("/api/plugins/nightly"):json()
      assert.equal("failed", known.state)
      assert.equal("INIT_FAILED", known.error.code)
      local want = 'cron.schedule: "61 * * * *": column 1: the minute must be 0 to 59, got 61'
      assert.is_truthy(known.error.message:find(want, 1, true))
      assert.equal(10, known.error.line)
    end)
  end)
end)
