--- The case of HTTP/2: the greeting over TLS, many requests at a time, and handshakes.

local h2 = require("spec.support.h2")
local measure = require("bench.measure")
local process = require("spec.support.process")
local report = require("bench.report")
local server = require("spec.support.server")

local SECONDS = tonumber(os.getenv("BENCH_SECONDS") or 6)
local ROUNDS = tonumber(os.getenv("BENCH_ROUNDS") or 5)

local M = {}

local function start()
  return server.start(h2.options({
    copy = { "bench/plugins/hello" },
    port = measure.free_port(),
    env = { RUNTIME_ENV = "production", RUNTIME_LOG_LEVEL = "warn" },
    command = { "taskset", "-c", "0", server.binary(), "serve" },
  }))
end

--- Runs a program on core 1.
--- @return string out, number us microseconds of the server's CPU in all
local function load_by(s, args)
  local before = measure.cpu_seconds(s:pid())
  local _, out, err, problem = process.run({ args = { "taskset", "-c", "1", unpack(args) } }, SECONDS + 30)
  assert(not problem, problem)
  return out .. err, (measure.cpu_seconds(s:pid()) - before) * 1e6
end

--- @param kind string "h2" or "http/1.1"
local function requests(s, kind, clients, at_a_time)
  local out, us = load_by(s, {
    "h2load", "-D", tostring(SECONDS), "-c", tostring(clients), "-m", tostring(at_a_time), "--npn-list", kind,
    ("https://127.0.0.1:%d/hello/api/greeting"):format(s.port),
  })
  local done, failed = out:match("(%d+) done, %d+ succeeded, (%d+) failed")
  if failed ~= "0" then
    error("requests failed: " .. out, 0)
  end
  return { rps = done / SECONDS, us = us / done }
end

--- `how`: "-new", or "-reuse" for those that resume a session.
local function handshakes(s, how)
  local out, us = load_by(s, {
    "openssl", "s_time", "-connect", "127.0.0.1:" .. s.port, how, "-time", tostring(SECONDS), "-tls1_3",
  })
  local count = tonumber(out:match("(%d+) connections in [%d.]+ real seconds"))
  assert(count, out)
  return { rps = count / SECONDS, us = us / count }
end

local function figure(what, ask)
  local rps, us = {}, {}
  ask() -- warms up
  for round = 1, ROUNDS do
    local sample = ask()
    rps[round], us[round] = sample.rps, sample.us
  end
  report.figure(what, "buntime", measure.median(rps), measure.median(us))
end

function M.http2()
  local s = start()
  figure("greeting over HTTP/2, 8 clients, 32 at a time", function()
    return requests(s, "h2", 8, 32)
  end)
  figure("greeting over HTTPS/1.1, 64 clients", function()
    return requests(s, "http/1.1", 64, 1)
  end)
  figure("TLS 1.3 handshakes, P-256", function()
    return handshakes(s, "-new")
  end)
  figure("TLS 1.3 handshakes, resumed", function()
    return handshakes(s, "-reuse")
  end)
  s:stop()
end

return M
