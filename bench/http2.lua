--- The case of HTTP/2: the greeting over TLS, many requests at a time, and handshakes.

local h2load = require("bench.h2load")
local measure = require("bench.measure")
local process = require("spec.support.process")
local report = require("bench.report")
local rounds = require("bench.rounds")
local servers = require("bench.servers")
local socket = require("socket")

local PLAN = rounds.plan(6, 5)
local GREETING = "/hello/api/greeting"

local M = {}

--- `how`: "-new", or "-reuse" for those that resume a session: its ticket comes with an answer.
local function handshakes(s, how, seconds)
  local before, began = measure.cpu_seconds(s:pid()), socket.gettime()
  local _, out, err, problem = process.run({
    args = {
      "taskset", "-c", "1", "openssl", "s_time", "-connect", "127.0.0.1:" .. s.port, how,
      "-time", tostring(seconds), "-tls1_3", "-www", GREETING,
    },
  }, seconds + 30)
  local cpu, took = measure.cpu_seconds(s:pid()) - before, socket.gettime() - began
  local count = tonumber(out:match("(%d+) connections in [%d.]+ real seconds"))
  assert(count, problem or out .. err)
  local _, resumed = (out:match("\n([r*]+)\n") or ""):gsub("r", "")
  assert(how ~= "-reuse" or resumed > count / 2, "sessions are not resumed: " .. out)
  return { rps = count / took, us = cpu * 1e6 / count }
end

--- @param ask fun(seconds: number): table
local function figure(title, ask)
  local samples = rounds.alternate({ { title = title } }, PLAN, function(_, seconds)
    return ask(seconds)
  end)
  local median = rounds.median(samples[title])
  report.figure(title, "buntime", median.rps, median.us)
end

function M.http2()
  local s = servers.buntime_tls(servers.certificate())
  figure("greeting over HTTP/2, 8 clients, 32 at a time", function(seconds)
    return h2load.sample(s, { path = GREETING, clients = 8, at_a_time = 32 }, seconds)
  end)
  figure("greeting over HTTPS/1.1, 64 clients", function(seconds)
    return h2load.sample(s, { path = GREETING, clients = 64, at_a_time = 1, kind = "http/1.1" }, seconds)
  end)
  figure("a TLS 1.3 handshake and a greeting, P-256", function(seconds)
    return handshakes(s, "-new", seconds)
  end)
  figure("the same, resumed", function(seconds)
    return handshakes(s, "-reuse", seconds)
  end)
  s:stop()
end

return M
