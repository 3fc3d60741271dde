--- Load over TLS by h2load on core 1.

local measure = require("bench.measure")
local process = require("spec.support.process")

local M = {}

--- The latencies that h2load has logged: start, status and microseconds in each line.
local function percentiles(path)
  local times = {}
  for line in io.lines(path) do
    local status, us = line:match("^%d+\t(%-?%d+)\t(%d+)")
    if status ~= "200" then
      error("answered over TLS: " .. line, 0)
    end
    times[#times + 1] = tonumber(us)
  end
  table.sort(times)
  return times[math.ceil(#times * 0.5)], times[math.ceil(#times * 0.99)]
end

--- @return integer done, number bytes in the body of each
local function parse(out)
  local done, failed = out:match("(%d+) done, %d+ succeeded, (%d+) failed")
  local bytes = out:match("%((%d+)%) data")
  if failed ~= "0" or done == "0" or not bytes then
    error("requests failed: " .. out, 0)
  end
  return tonumber(done), tonumber(bytes) / tonumber(done)
end

local function arguments(server, load, seconds, log)
  return {
    "taskset", "-c", "1", "h2load", "-D", tostring(seconds), "-c", tostring(load.clients),
    "-m", tostring(load.at_a_time), "--npn-list", load.kind or "h2", "--log-file", log,
    ("https://127.0.0.1:%d%s"):format(server.tls_port or server.port, load.path),
  }
end

--- @param server table { port, tls_port?, pid }
--- @param load table { path, clients, at_a_time, kind?, bytes? } kind: "h2" or "http/1.1"; bytes of an answer
--- @return table { rps, us, p50, p99 } as of measure.sample
function M.sample(server, load, seconds)
  local log, pid = os.tmpname(), measure.pid(server)
  local before = measure.cpu_seconds(pid)
  local _, out, err, problem = process.run({ args = arguments(server, load, seconds, log) }, seconds + 30)
  local cpu = measure.cpu_seconds(pid) - before
  assert(not problem, problem)
  local done, bytes = parse(out .. err)
  if load.bytes and math.abs(bytes - load.bytes) > 1 then
    error(("%s bytes an answer over TLS: %s"):format(bytes, out), 0)
  end
  local p50, p99 = percentiles(log)
  os.remove(log)
  return { rps = done / seconds, us = cpu * 1e6 / done, p50 = p50, p99 = p99 }
end

return M
