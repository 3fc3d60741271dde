--- The cases of worker processes: server and workers share core 0.

local measure = require("bench.measure")
local report = require("bench.report")
local rounds = require("bench.rounds")
local servers = require("bench.servers")
local process = require("spec.support.process")
local socket = require("socket")

local PLAN = rounds.plan(6, 5)
local STARTS = 11

local PERSISTENT = { path = "/hello/api/greeting" }
local WARM = { path = "/warm/api/greeting" }
local FRESH = { path = "/fresh/api/greeting" }

local M = {}

--- The medians of some rounds.
local function load(s, what, connections)
  local samples = rounds.alternate({ { title = "it" } }, PLAN, function(_, seconds)
    return measure.sample(s, what, seconds, connections)
  end)
  return rounds.median(samples.it)
end

--- Resident bytes of each worker process.
local function workers(s)
  local pid, list = s:pid(), {}
  for child in process.read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch("%d+") do
    local status = process.read(("/proc/%s/status"):format(child)) or ""
    list[#list + 1] = tonumber(status:match("VmRSS:%s*(%d+)")) * 1024
  end
  return list
end

--- A process that stays, and what the way to it and back adds.
function M.warm()
  local s = servers.buntime({ "hello", "warm" })
  local all = load(s, WARM)
  report.figure("GET greeting, worker that stays", "buntime", all.rps, 1e6 / all.rps)
  report.target("a worker that stays, requests a second", all.rps, ">=", 50000)
  local there, here = load(s, WARM, 1), load(s, PERSISTENT, 1)
  report.target("the way to a worker adds, at the median", there.p50 - here.p50, "<=", 120, " us")
  s:stop()
end

--- A VM for each request.
function M.fresh()
  local s = servers.buntime({ "fresh" })
  local all = load(s, FRESH)
  report.figure("GET greeting, a VM for each request", "buntime", all.rps, 1e6 / all.rps)
  report.target("a VM for each request, requests a second", all.rps, ">=", 5000)
  report.target("a VM for each request, p99", all.p99 / 1000, "<=", 20, " ms")
  s:stop()
end

--- From a request that finds no process to its answer, and what an idle process takes.
function M.cold()
  local times, resident = {}, {}
  for i = 1, STARTS do
    local s = servers.buntime({ "hello", "warm" })
    assert(s:get(PERSISTENT.path).status == 200)
    local began = socket.gettime()
    assert(s:get(WARM.path).status == 200)
    times[i] = (socket.gettime() - began) * 1000
    resident[i] = workers(s)[1]
    s:stop()
  end
  report.target("first answer of a worker that was not there", measure.median(times), "<=", 25, " ms")
  report.target("resident memory of an idle worker", measure.median(resident) / 1e6, "<=", 8, " MB")
end

return M
