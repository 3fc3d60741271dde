--- What bench/table measures: each contestant under each load.

local contestants = require("bench.contestants")
local loads = require("bench.loads")
local measure = require("bench.measure")
local rounds = require("bench.rounds")
local servers = require("bench.servers")

local M = {}

--- @param list table[] contestants
--- @return table { title, medians } medians by the contestants' titles
local function stand(list, load, plan)
  local able = {}
  for _, c in ipairs(list) do
    if not (load.without or {})[c.title] then
      loads.check(c.title, c.server, load)
      able[#able + 1] = c
    end
  end
  io.stderr:write(load.title, " …\n")
  local medians = {}
  local samples = rounds.alternate(able, plan, function(c, seconds)
    return loads.sample(c.server, load, seconds)
  end)
  for title, list_of_rounds in pairs(samples) do
    medians[title] = rounds.median(list_of_rounds)
  end
  return { title = load.title, medians = medians }
end

--- Those that speak HTTP/2, started anew with a certificate.
local function start_secure(present)
  local tls, secure = servers.certificate(), {}
  for _, c in ipairs(present) do
    if c.secure then
      secure[#secure + 1] = { title = c.title, server = c.secure(tls) }
    end
  end
  return secure
end

--- @param plan table of bench.rounds, with starts
--- @return table result { machine, contestants, left_out, rows, plan }; rows as of stand()
function M.run(plan)
  local machine = contestants.machine()
  local list, left_out = contestants.start(plan.starts)
  local rows = {}
  for i, load in ipairs(loads.list()) do
    rows[i] = stand(list, load, plan)
  end
  for _, c in ipairs(list) do
    c.loaded = measure.resident(c.server) / 2 ^ 20
    servers.stop(c.server)
  end
  rows[#rows + 1] = stand(start_secure(list), loads.http2(), plan)
  return { machine = machine, contestants = list, left_out = left_out, rows = rows, plan = plan }
end

return M
