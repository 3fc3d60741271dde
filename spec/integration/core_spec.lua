-- buntime.core.*: the C halves of the library are not for plugin code, and whoever gets at them all the
-- same, by giving a chunk the name of a library file, does not bring the process down.

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local MODULES = {
  "auth",
  "cron",
  "crypto",
  "file",
  "json",
  "request",
  "route",
  "semver",
  "service",
  "shared",
  "stream",
  "sys",
  "task",
  "websocket",
}

local CODE = [[
local Router = require("buntime.router")
local get = loadstring("local n = ... local m = require(n) return m", "@buntime/other.lua")

local function values(c, request)
  local made = request.new("GET", "/s?a=1", "b", { "a", "b" }, nil, nil, 2)
  return { c.req, made, {}, "", "x", "/a", 0, -1, 1e308, 2 ^ 53, 0 / 0, true, false, print, c,
    { status = 200, headers = {}, body = "b" }, { status = 101 },
    { status = 204, headers = { a = { "b", 1 } } },
    coroutine.create(print), io.stdout, Router.new(), ("y"):rep(3000), "a\0b" }
end

-- What would only fill the log, the tasks or this VM's own links.
local LEFT_OUT = { ["service.open"] = true, ["task.spawn"] = true, ["sys.log"] = true }

local function functions_of(name)
  local list = {}
  for key, fn in pairs(get("buntime.core." .. name)) do
    if type(fn) == "function" and not LEFT_OUT[name .. "." .. key] then
      list[#list + 1] = fn
    end
  end
  return list
end

return function()
  local routes = Router.new()
  routes:get("/plain", function(c)
    local ok, message = pcall(require, "buntime.core.request")
    local seen = package.loaded["buntime.core.request"] or package.preload["buntime.core.request"]
    return c:json({ ok = ok, message = message, seen = seen ~= nil })
  end)
  routes:get("/:module/:seed", function(c)
    math.randomseed(tonumber(c.req:param("seed")))
    local pool = values(c, get("buntime.core.request"))
    local fns, first = functions_of(c.req:param("module")), #pool
    for _ = 1, 300 do
      local a = {}
      for i = 1, math.random(0, 6) do
        a[i] = pool[math.random(#pool)]
      end
      local _, result = pcall(fns[math.random(#fns)], unpack(a, 1, 6))
      if type(result) == "userdata" or type(result) == "table" then
        pool[first + math.random(4)] = result
      end
    end
    return "called " .. #fns
  end)
  return { routes = routes }
end
]]

describe("buntime.core", function()
  local s

  setup(function()
    s = server.start({ plugins = { nosy = fixtures.plugin("name: nosy\nbase: /nosy", CODE) } })
  end)
  teardown(function()
    s:stop()
  end)

  it("is refused to plugin code, and not to be found in package", function()
    local got = s:get("/nosy/plain"):json()
    assert.is_false(got.ok)
    assert.matches("is the library's own", got.message)
    assert.is_false(got.seen)
  end)

  for _, module in ipairs(MODULES) do
    it("survives any arguments to " .. module, function()
      local pid = s:pid()
      for seed = 1, 4 do
        local res = s:get(("/nosy/%s/%d"):format(module, seed))
        assert.equal(200, res.status, res.body)
        assert.matches("^called [1-9]", res.body)
      end
      assert.equal(pid, s:pid())
    end)
  end
end)
