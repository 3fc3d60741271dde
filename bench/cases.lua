--- The cases of bench/run. Each starts what it needs, measures, and reports.

local measure = require("bench.measure")
local report = require("bench.report")
local rounds = require("bench.rounds")
local servers = require("bench.servers")
local socket = require("socket")

local PLAN = rounds.plan(6, 5)
local STARTS = 11
local SMALL = 40

local GREETING = { path = "/hello/api/greeting" }
local ECHO = { path = "/hello/api/echo", script = "bench/echo.lua" }

local M = {
  order = {
    "greeting", "echo", "hook", "service", "fetch", "sqlite", "postgres", "streams", "sockets", "pause",
    "warm", "fresh", "cold", "http2", "start", "memory", "reload", "soak",
  },
}

local FILES = { "bench.waiting", "bench.pause", "bench.workers", "bench.http2" }
for _, file in ipairs(FILES) do
  for name, case in pairs(require(file)) do
    M[name] = case
  end
end

--- @param contestants table[] { title, server, load }
--- @return table<string, table[]> samples by title, one a round
local function alternate(contestants)
  return rounds.alternate(contestants, PLAN, function(c, seconds)
    return measure.sample(c.server, c.load, seconds)
  end)
end

local function report_figures(case, contestants, samples)
  for _, c in ipairs(contestants) do
    local median = rounds.median(samples[c.title])
    report.figure(case, c.title, median.rps, median.us)
  end
end

local function cpu_ratio(a, b)
  return a.us / b.us
end

local function cpu_difference(a, b)
  return a.us - b.us
end

local function rps_ratio(a, b)
  return a.rps / b.rps
end

local function contestants_for(load, list)
  local out = {}
  for i, server in ipairs(list) do
    out[i] = { title = server.name, server = server, load = load }
  end
  return out
end

--- The peers alone; needs no buntime.
function M.peers()
  local bare, nginx, bun = servers.bare(), servers.nginx(), servers.bun()
  local greeting = contestants_for(GREETING, { bare, nginx, bun })
  report_figures("GET greeting", greeting, alternate(greeting))
  local echo = contestants_for(ECHO, { nginx, bun })
  report_figures("POST 1 KiB JSON", echo, alternate(echo))
end

function M.greeting()
  local list = { servers.bare(), servers.nginx(), servers.bun(), servers.buntime({ "hello" }) }
  local contestants = contestants_for(GREETING, list)
  local s = alternate(contestants)
  report_figures("GET greeting", contestants, s)
  local aims = { { "bare h2o", "<=", 1.25 }, { "nginx + Lua", "<", 1 }, { "Bun + Hono", "<", 1 } }
  for _, peer in ipairs(aims) do
    local ratio = rounds.within(s.buntime, s[peer[1]], cpu_ratio)
    report.target("greeting, CPU against " .. peer[1], ratio, peer[2], peer[3], " x")
  end
end

function M.echo()
  local contestants = contestants_for(ECHO, { servers.nginx(), servers.bun(), servers.buntime({ "hello" }) })
  local s = alternate(contestants)
  report_figures("POST 1 KiB JSON", contestants, s)
  local ratio = rounds.within(s.buntime, s["Bun + Hono"], rps_ratio)
  report.target("echo, requests against Bun + Hono", ratio, ">=", 1, " x")
end

function M.hook()
  local contestants = {
    { title = "without hook", server = servers.buntime({ "hello" }), load = GREETING },
    { title = "with hook", server = servers.buntime({ "hello", "hook" }), load = GREETING },
  }
  local s = alternate(contestants)
  report_figures("onRequest hook", contestants, s)
  local added = rounds.within(s["with hook"], s["without hook"], cpu_difference)
  report.target("one onRequest hook adds", added, "<=", 1.5, " us")
end

function M.service()
  local server = servers.buntime({ "provider", "consumer" })
  local contestants = {
    { title = "own table", server = server, load = { path = "/consumer/local" } },
    { title = "getPlugin", server = server, load = { path = "/consumer/service" } },
  }
  local s = alternate(contestants)
  report_figures("getPlugin call", contestants, s)
  local added = rounds.within(s.getPlugin, s["own table"], cpu_difference)
  report.target("one getPlugin call adds", added, "<=", 1.5, " us")
end

--- What a plugin on core 1 asks of a server on core 0, against what wrk and libcurl alone do from there.
function M.fetch()
  local upstream = servers.buntime({ "hello" })
  local client = servers.buntime({ "fetch" }, 0, true, 1)
  local url = ("http://127.0.0.1:%d%s"):format(upstream.port, GREETING.path)
  local asking = {
    { title = "wrk", ask = function(seconds)
      return measure.sample(upstream, GREETING, seconds)
    end },
    { title = "bare libcurl", ask = function(seconds)
      return measure.bare_curl(servers.bare_curl, url, seconds)
    end },
    { title = "buntime.fetch", ask = function(seconds)
      return measure.fetching(client, url, seconds)
    end },
  }
  local s = rounds.alternate(asking, PLAN, function(c, seconds)
    return c.ask(seconds)
  end)
  report_figures("GET of another server", asking, s)
  local of_curl = rounds.within(s["buntime.fetch"], s["bare libcurl"], rps_ratio)
  local of_wrk = rounds.within(s["buntime.fetch"], s.wrk, rps_ratio)
  report.target("fetch, requests against bare libcurl", of_curl, ">=", 0.7, " x")
  report.target("fetch, requests against wrk", of_wrk, ">=", 0.7, " x")
  upstream:stop()
  client:stop()
end

function M.start()
  local times = {}
  for i = 1, STARTS do
    local s = servers.buntime({ "hello" }, 0, false)
    times[i] = measure.first_answer(s.port, GREETING.path, s.began) * 1000
    s:stop()
  end
  report.target("start to first 200", measure.median(times), "<=", 60, " ms")
end

function M.memory()
  local hello = servers.buntime({ "hello" })
  assert(hello:get(GREETING.path).status == 200)
  local more = servers.buntime({ "hello" }, SMALL)
  assert(more:get("/small-" .. SMALL).status == 200)
  local alone = hello:memory()
  report.target("resident memory with hello", alone / 1e6, "<=", 12, " MB")
  report.target("each further small plugin", (more:memory() - alone) / SMALL / 1000, "<=", 250, " KB")
  hello:stop()
  more:stop()
end

local function reload(s)
  local began = socket.gettime()
  local res = s:reload()
  assert(res.status == 200, res.body)
  return (socket.gettime() - began) * 1000
end

function M.reload()
  local s = servers.buntime({}, 20)
  local times = {}
  for i = 1, STARTS do
    times[i] = reload(s)
  end
  report.target("reload of 20 small plugins", measure.median(times), "<=", 60, " ms")
  s:stop()
end

--- 200 reloads under load: not one request may fail, and memory may not grow with them.
function M.soak()
  local s = servers.buntime({ "hello" }, 20)
  local stop = measure.background(s, GREETING)
  for _ = 1, 20 do
    reload(s)
  end
  local memory, descriptors = s:memory(), s:descriptors()
  for _ = 21, 200 do
    reload(s)
  end
  local grown, leaked = (s:memory() - memory) / 1e6, s:descriptors() - descriptors
  local result = stop()
  report.figure("200 reloads", "buntime", result.rps, 0)
  report.target("requests failed during 200 reloads", result.failed, "<=", 0)
  report.target("memory grown over 180 reloads", grown, "<=", 4, " MB")
  report.target("descriptors left by 180 reloads", leaked, "<=", 0)
  s:stop()
end

return M
