--- What is served while the soak runs: good plugins and apps, one that changes, and the broken ones.

local apps = require("spec.support.apps")
local fixtures = require("spec.support.fixtures")

local plugin = fixtures.plugin

local M = {}

local ECHO = [[
local routes = require("buntime.router").new()
routes:post("/", function(c)
  return c:body(c.req:text(), 200, { ["Content-Type"] = "application/octet-stream" })
end)
return { routes = routes }
]]

--- A stream of a size that no socket takes at once, a wait that clients leave, and events.
local SLOW = [[
local routes = require("buntime.router").new()
local piece = ("0123456789abcdef"):rep(4096)
routes:get("/big", function(c)
  return c:stream(function(s)
    for _ = 1, 128 do
      if not s:write(piece) then return end
    end
  end, "application/octet-stream")
end)
routes:get("/wait", function(c)
  buntime.sleep(0.5)
  return c:text("waited")
end)
routes:get("/events", function(c)
  return c:sse(function(s)
    for i = 1, 1000 do
      if not s:send({ event = "tick", id = i, data = i }) then return end
      buntime.sleep(0.05)
    end
  end)
end)
return { routes = routes }
]]

local SOCKET = [[
local routes = require("buntime.router").new()
routes:ws("/", { message = function(ws, text) ws:send(text) end })
return { routes = routes }
]]

--- What the database said, as 503 when it is away.
local POSTGRES = [[
local postgres = require("buntime.postgres")
local db = postgres.connect(buntime.env.SOAK_POSTGRES, { max = 4, idle_timeout = 1, acquire_timeout = 5 })
local routes = require("buntime.router").new()
local AWAY = { CONNECTION_FAILED = 1, CONNECTION_LOST = 1, ACQUIRE_TIMEOUT = 1, ["57P03"] = 1 }
local function away(fn)
  local ok, value = pcall(fn)
  if ok then return value end
  if type(value) == "table" and AWAY[value.code] then return nil, value.code end
  error(value, 0)
end
routes:post("/", function(c)
  local row, code = away(function()
    return db:transaction(function(tx)
      return tx:first("insert into soak (text) values ($1) returning id", c.req:text())
    end)
  end)
  return row and c:json({ id = row.id }, 201) or c:text("away: " .. code, 503)
end)
return { routes = routes }
]]

local REDIS = [[
local redis = require("buntime.redis")
local r = redis.connect(buntime.env.SOAK_REDIS, { timeout = 5 })
local routes = require("buntime.router").new()
local AWAY = { CONNECTION_FAILED = 1, CONNECTION_LOST = 1, TIMEOUT = 1, LOADING = 1 }
routes:post("/", function(c)
  local text = c.req:text()
  local ok, replies = pcall(r.pipeline, r, function(p)
    p:call("SET", "soak:" .. text, text, "EX", 5)
    p:call("GET", "soak:" .. text)
  end)
  if not ok and type(replies) == "table" and AWAY[replies.code] then
    return c:text("away: " .. replies.code, 503)
  end
  if not ok then error(replies, 0) end
  return c:text(tostring(replies[2]))
end)
return { routes = routes }
]]

local SQLITE = [[
local sqlite = require("buntime.sqlite")
local db
local routes = require("buntime.router").new()
routes:post("/", function(c)
  local row = db:first("insert into soak (text) values (?) returning id", c.req:text())
  return c:json({ id = row.id }, 201)
end)
routes:get("/count", function(c) return c:json({ count = db:first("select count(*) as n from soak").n }) end)
return {
  routes = routes,
  onInit = function()
    db = sqlite.open("soak.db")
    db:exec("create table if not exists soak (id integer primary key autoincrement, text text)")
  end,
}
]]

local KEPT = [[
local routes = require("buntime.router").new()
routes:get("/hello", function(c) return c:json({ message = "kept" }) end)
routes:post("/sum", function(c) local body = c.req:json() return c:json({ sum = body.a + body.b }) end)
return routes
]]

--- A global of the VM, and a VM for each request.
local FRESH = [[
rawset(_G, "count", (rawget(_G, "count") or 0) + 1)
return { fetch = function() return "fresh " .. rawget(_G, "count") end }
]]

M.FILE = ("0123456789abcdef"):rep(6400)

--- @return string text plugin.lua of the plugin that changes
function M.changing(version)
  return fixtures.answers(("v%d"):format(version))
end

--- The good ones: folder → file → text.
function M.good()
  return {
    hello = fixtures.hello("hello", "hello"),
    echo = plugin("name: echo\nbase: /echo", ECHO),
    slow = plugin("name: slow\nbase: /slow", SLOW),
    socket = plugin("name: socket\nbase: /socket", SOCKET),
    postgres = plugin("name: postgres\nbase: /postgres", POSTGRES),
    redis = plugin("name: redis\nbase: /redis", REDIS),
    sqlite = plugin("name: sqlite\nbase: /sqlite", SQLITE),
    files = {
      ["manifest.yaml"] = "name: files\nbase: /files\nentrypoint: index.html\n",
      ["index.html"] = "<p>files",
      ["data.bin"] = M.FILE,
    },
    kept = apps.app("kept", KEPT, "ttl: 2s\n"),
    fresh = apps.app("fresh", FRESH),
    changing = plugin("name: changing\nbase: /changing", M.changing(1)),
  }
end

local function broken(code, lines)
  return plugin("name: broken\nbase: /broken\n" .. (lines or ""), code)
end

local HANDLER = [[
local routes = require("buntime.router").new()
routes:get(%q, function(c)
  %s
end)
return { routes = routes }
]]

local function handler(code, lines, path)
  return broken(HANDLER:format(path or "/", code), lines)
end

local GREEDY = "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end"

--- @class soak.Broken
--- @field name string
--- @field files table<string, string>
--- @field loads? boolean
--- @field kills? boolean A request to it takes the server down.

--- @type soak.Broken[]
M.broken = {
  { name = "syntax", files = broken("return {") },
  { name = "raises", files = broken("error('broken: raises')") },
  { name = "manifest", files = plugin("name: broken\nbase: /api\nttl: [1]\n\"\\e\": ~", "return {}") },
  { name = "onInit", files = broken("return { onInit = function() error('broken: onInit') end }") },
  { name = "never ready", files = broken("return { onInit = function() buntime.sleep(60) end }") },
  { name = "handler", files = handler("error('broken: handler')"), loads = true },
  { name = "spins", files = handler("while true do end"), loads = true },
  { name = "greedy", files = handler(GREEDY, "memory: 16mb"), loads = true },
  { name = "bad answer", files = handler("return { status = 'broken' }"), loads = true },
  {
    name = "timer",
    files = broken([[
      local timer = require("buntime.timer")
      return { onInit = function() timer.every(0.05, function() error("broken: timer") end) end }]]),
    loads = true,
  },
  {
    name = "crash", -- at a path of its own, which nobody else asks for
    files = handler("require('ffi').cast('int *', 0)[0] = 1", "", "/crash"),
    loads = true,
    kills = true,
  },
}

return M
