-- buntime.shared between plugins, and across reloads.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = fixtures.plugin

local WRITER = plugin(
  "name: writer\nbase: /writer\n",
  [[
local shared = require("buntime.shared")
local routes = require("buntime.router").new()
routes:post("/set/:key", function(c)
  return c:json({ ok = shared.set(c.req:param("key"), c.req:json(), tonumber(c.req:query("ttl"))) })
end)
routes:post("/incr/:key", function(c)
  return c:json({ value = shared.incr(c.req:param("key")) })
end)
return { routes = routes }
]]
)

local READER = plugin(
  "name: reader\nbase: /reader\n",
  [[
local shared = require("buntime.shared")
local routes = require("buntime.router").new()
local seen = {}
shared.watch("seen:", function(key, value)
  buntime.sleep(0.001)
  seen[#seen + 1] = { key = key, value = value }
end)
routes:get("/get/:key", function(c)
  return c:json({ value = shared.get(c.req:param("key")) })
end)
routes:post("/incr/:key", function(c)
  return c:json({ value = shared.incr(c.req:param("key")) })
end)
routes:get("/seen", function(c)
  return c:json(require("buntime.json").array(seen))
end)
return { routes = routes }
]]
)

local function start(fn)
  server.with({ plugins = { writer = WRITER, reader = READER } }, fn)
end

local function seen(s, count)
  return process.eventually(function()
    local list = s:get("/reader/seen"):json()
    return #list >= count and list
  end)
end

describe("shared", function()
  after_each(server.stop_all)

  it("is one dictionary for all plugins, and outlives reloads", function()
    start(function(s)
      assert.is_true(s:post("/writer/set/a", { json = { list = { 1, 2 } } }):json().ok)
      assert.same({ list = { 1, 2 } }, s:get("/reader/get/a"):json().value)
      local answer = s:reload():json()
      assert.is_true(answer.ok)
      assert.same({ list = { 1, 2 } }, s:get("/reader/get/a"):json().value)
    end)
  end)

  it("counts each time once", function()
    start(function(s)
      http.parallel(8, function(i)
        for _ = 1, 25 do
          local base = i % 2 == 0 and "/writer" or "/reader"
          assert.equal(200, s:post(base .. "/incr/n").status)
        end
      end)
      assert.equal(200, s:get("/reader/get/n"):json().value)
    end)
  end)

  it("tells the watchers of other plugins, and only those that live", function()
    start(function(s)
      s:post("/writer/set/seen:a", { json = "x" })
      s:post("/writer/set/other", { json = "x" })
      s:post("/writer/set/seen:b?ttl=0.01", { json = { 5 } })
      local list = seen(s, 3)
      assert.same({ key = "seen:a", value = "x" }, list[1])
      assert.same({ key = "seen:b", value = { 5 } }, list[2])
      assert.same({ key = "seen:b" }, list[3])

      local answer = s:reload():json()
      assert.same({}, answer.leaks)
      s:post("/writer/set/seen:c", { json = "y" })
      assert.same({ { key = "seen:c", value = "y" } }, seen(s, 1))
      process.eventually(function()
        return not s:get("/api/plugins/reader"):json().resources[2]
      end)
      local resources = s:get("/api/plugins/reader"):json().resources
      assert.equal(1, #resources)
      assert.equal("watch", resources[1].kind)
      assert.matches("^plugin.lua:%d+ seen:$", resources[1].label)
    end)
  end)
end)
