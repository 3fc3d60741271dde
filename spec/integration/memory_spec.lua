-- The memory budget of a VM: over it is an error in that VM alone, and a VM that stays full is
-- rebuilt.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

local GREEDY = [[
local routes = require("buntime.router").new()

local eat = {
  ["strings"] = function(kept)
    for i = 1, math.huge do
      kept[i] = ("x"):rep(1000) .. i
    end
  end,
  ["tables"] = function(kept)
    for i = 1, math.huge do
      kept[i] = { i, i }
    end
  end,
  ["one table"] = function(kept)
    for i = 1, math.huge do
      kept[i] = i
    end
  end,
  ["doubling"] = function(kept)
    kept[1] = "x"
    while true do
      kept[1] = kept[1] .. kept[1]
    end
  end,
  ["rep"] = function(kept)
    kept[1] = ("xxxx"):rep(2 ^ 30)
  end,
  ["rep to the brim"] = function(kept)
    kept[1] = ("x"):rep(2 ^ 31 - 1)
  end,
  ["coroutines"] = function(kept)
    for i = 1, 100000 do
      kept[i] = coroutine.create(function() end)
    end
  end,
  ["started coroutines"] = function(kept)
    for i = 1, 100000 do
      kept[i] = coroutine.create(coroutine.yield)
      coroutine.resume(kept[i])
    end
  end,
  ["closures"] = function(kept)
    local last
    while true do
      local before = last
      last = function()
        return before
      end
      kept[1] = last
    end
  end,
  ["concat"] = function(kept)
    local parts = {}
    for i = 1, 1000 do
      parts[i] = ("x"):rep(1e5)
    end
    kept[1] = table.concat(parts)
  end,
  ["inside a coroutine"] = function(kept)
    coroutine.wrap(function()
      for i = 1, math.huge do
        kept[i] = { i }
      end
    end)()
  end,
  ["userdata"] = function(kept)
    for i = 1, math.huge do
      kept[i] = newproxy(true)
    end
  end,
}

local kept

routes:get("/eat/:what", function(c)
  eat[c.req:param("what")]({})
  return c:text("never")
end)
routes:get("/swallow/:what", function(c)
  local ok, message = pcall(eat[c.req:param("what")], {})
  return c:json({ ok = ok, message = tostring(message) })
end)
routes:get("/keep/:what", function(c)
  kept = {}
  eat[c.req:param("what")](kept)
end)
routes:get("/keep-quietly", function(c)
  kept = {}
  pcall(eat["strings"], kept)
  return c:text("kept")
end)
routes:get("/", function(c)
  return c:text("well")
end)
return { routes = routes }
]]

local KINDS = {
  "strings",
  "tables",
  "one table",
  "doubling",
  "rep",
  "rep to the brim",
  "coroutines",
  "started coroutines",
  "closures",
  "concat",
  "inside a coroutine",
  "userdata",
}

local function escape(text)
  return (text:gsub(" ", "%%20"))
end

local function start(more)
  local plugins = {
    good = hello("good", "good"),
    greedy = plugin("name: greedy\nbase: /greedy\nmemory: 16mb", GREEDY),
  }
  for name, files in pairs(more or {}) do
    plugins[name] = files
  end
  local s = server.start({ plugins = plugins, env = { RUNTIME_WATCHDOG = "60s" } })
  s:allow_errors("not enough memory", "string length overflow", "result too large")
  return s
end

--- How often the log says that the plugin is rebuilt.
local function rebuilds(s)
  local count = 0
  for _, line in ipairs(s:log_lines()) do
    if (line.msg or ""):find("it is rebuilt", 1, true) then
      assert.equal("warn", line.level)
      assert.equal("greedy", line.plugin)
      count = count + 1
    end
  end
  return count
end

describe("a VM over its memory budget", function()
  after_each(server.stop_all)

  it("fails one request with OUT_OF_MEMORY, and all else goes on", function()
    local s = start()
    for _, kind in ipairs(KINDS) do
      local res = s:get("/greedy/eat/" .. escape(kind))
      assert.equal(500, res.status, kind)
      assert.equal("OUT_OF_MEMORY", res:json().code, kind .. ": " .. res.body)
      assert.equal("well", s:get("/greedy").body, kind)
      assert.equal("good", s:get("/good").body, kind)
    end
    assert.equal(0, rebuilds(s))
    local errors = s:get("/api/plugins/greedy/errors"):json()
    assert.equal("OUT_OF_MEMORY", errors[1].code)
    s:stop()
  end)

  it("is an error that pcall sees", function()
    local s = start()
    for _, kind in ipairs(KINDS) do
      local body = s:get("/greedy/swallow/" .. escape(kind)):json()
      assert.is_false(body.ok, kind)
      assert.equal("well", s:get("/greedy").body, kind)
    end
    assert.equal(0, rebuilds(s))
    s:stop()
  end)

  it("costs the process no more than the budget", function()
    local s = start()
    s:get("/greedy/eat/strings")
    local before = s:memory()
    for _ = 1, 10 do
      for _, kind in ipairs({ "strings", "tables", "rep" }) do
        s:get("/greedy/eat/" .. escape(kind))
      end
    end
    assert.is_true(s:memory() - before < 48 * 1024 * 1024)
    s:stop()
  end)

  it("does not disturb requests that run meanwhile", function()
    local s = start()
    http.parallel(8, function(i)
      for _ = 1, 5 do
        if i <= 2 then
          assert.equal(500, s:get("/greedy/eat/tables").status)
        else
          assert.equal("good", s:get("/good").body)
        end
      end
    end)
    s:stop()
  end)
end)

describe("a VM that stays full", function()
  after_each(server.stop_all)

  local function wait_rebuilt(s)
    assert.is_truthy(s:wait_log("it is rebuilt"))
    assert.is_truthy(process.eventually(function()
      return s:get("/greedy").status == 200 and rebuilds(s) == 1
    end, 10))
  end

  for _, kind in ipairs({ "strings", "coroutines", "closures" }) do
    it("with " .. kind .. " is rebuilt, once, and said so", function()
      local s = start()
      assert.equal(500, s:get("/greedy/keep/" .. escape(kind)).status)
      wait_rebuilt(s)
      assert.equal("well", s:get("/greedy").body)
      assert.equal("good", s:get("/good").body)
      assert.equal(1, rebuilds(s))
      assert.equal("loaded", s:get("/api/plugins/greedy"):json().state)
      s:stop()
    end)
  end

  it("is rebuilt as well when the plugin swallowed the error", function()
    local s = start()
    s:get("/greedy/keep-quietly")
    wait_rebuilt(s)
    s:stop()
  end)

  it("is not rebuilt again at once", function()
    local s = start()
    s:get("/greedy/keep/strings")
    wait_rebuilt(s)
    for _ = 1, 10 do
      s:get("/greedy/keep/strings")
      assert.equal("good", s:get("/good").body)
    end
    assert.equal(1, rebuilds(s))
    assert.is_truthy(process.eventually(function()
      s:get("/greedy/keep/strings")
      return rebuilds(s) == 2
    end, 15))
    s:stop()
  end)

  it("is not rebuilt when only a big part of it is in use", function()
    local s = start()
    assert.equal(500, s:get("/greedy/keep/one%20table").status) -- doubling it was refused
    assert.equal("well", s:get("/greedy").body)
    assert.equal(0, rebuilds(s))
    s:stop()
  end)

  it("that fails to build again stays as it is, and is said so", function()
    local s = start()
    s:allow_errors("it could not be rebuilt", "broken now")
    s:write("greedy/plugin.lua", 'error("broken now")')
    s:get("/greedy/keep/strings")
    assert.is_truthy(s:wait_log("it could not be rebuilt"))
    assert.equal("good", s:get("/good").body)
    s:stop()
  end)

  it("of a provider is rebuilt while its consumer goes on", function()
    local s = start({
      bank = plugin(
        "name: bank\nmemory: 16mb",
        [[
        local kept
        return {
          provides = function()
            return {
              fill = function()
                kept = {}
                for i = 1, math.huge do
                  kept[i] = ("x"):rep(100) .. i
                end
              end,
              hello = function() return "hello" end,
            }
          end,
        }]]
      ),
      user = plugin(
        "name: user\nbase: /user\ndependencies: [bank]",
        [[
        local routes = require("buntime.router").new()
        local bank
        routes:get("/fill", function(c) bank.fill() end)
        routes:get("/", function(c) return c:text(bank.hello()) end)
        return { routes = routes, onInit = function(ctx) bank = ctx.getPlugin("bank") end }]]
      ),
    })
    assert.equal(500, s:get("/user/fill").status)
    assert.is_truthy(s:wait_log("it is rebuilt"))
    assert.is_truthy(process.eventually(function()
      return s:get("/user").body == "hello"
    end, 5))
    s:stop()
  end)
end)
