--- What a server costs: load by wrk on core 1, CPU time of the server from /proc.

local http = require("spec.support.http")
local process = require("spec.support.process")
local socket = require("socket")

local CONNECTIONS = 64
local TICKS = 100 -- a second, of utime and stime in /proc

local M = {}

--- @param server table { pid } that may be a method
--- @return integer
function M.pid(server)
  return type(server.pid) == "number" and server.pid or server:pid()
end

--- CPU seconds that the process has used, its threads included.
--- @return number
function M.cpu_seconds(pid)
  local stat = assert(process.read(("/proc/%d/stat"):format(pid)), "the server is gone")
  local utime, stime = stat:match("%) %S" .. (" %-?%d+"):rep(10) .. " (%d+) (%d+)")
  return (tonumber(utime) + tonumber(stime)) / TICKS
end

--- Bytes of resident memory, now, of the process and those below it.
--- @return integer
function M.resident(server)
  local function of(pid)
    local bytes = tonumber(process.read(("/proc/%d/status"):format(pid)):match("VmRSS:%s*(%d+) kB")) * 1024
    for child in process.read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch("%d+") do
      bytes = bytes + of(child)
    end
    return bytes
  end
  return of(server.process and server.process.pid or M.pid(server))
end

local function wrk_args(port, load, seconds, connections)
  local most = "-c" .. (connections or CONNECTIONS)
  local args = { "taskset", "-c", "1", "wrk", "-t1", most, "-d" .. seconds .. "s", "--latency" }
  if load.script then
    args[#args + 1] = "-s"
    args[#args + 1] = load.script
  end
  for _, header in ipairs(load.headers or {}) do
    args[#args + 1] = "-H"
    args[#args + 1] = header
  end
  args[#args + 1] = ("http://127.0.0.1:%d%s"):format(port, load.path)
  return args
end

local UNITS = { us = 1, ms = 1e3, s = 1e6 }

--- A line of wrk's distribution, in microseconds.
local function percentile(out, percent)
  local value, unit = out:match("\n%s+" .. percent .. "%%%s+([%d.]+)(%a+)")
  return value and tonumber(value) * UNITS[unit]
end

--- @return table { requests, rps, failed, p50, p99 }
local function parse(out)
  local errors = 0
  for n in (out:match("Socket errors:([^\n]*)") or ""):gmatch("%d+") do
    errors = errors + tonumber(n)
  end
  local requests = tonumber(out:match("(%d+) requests in"))
  return {
    requests = assert(requests, out),
    rps = tonumber(out:match("Requests/sec:%s*([%d.]+)")),
    p50 = percentile(out, 50),
    p99 = percentile(out, 99),
    failed = errors + tonumber(out:match("Non%-2xx or 3xx responses: (%d+)") or 0),
  }
end

--- Loads a server for some seconds.
--- @param server table { port, pid }
--- @param load table { path, script?, headers? }
--- @param connections? integer 64 unless told
--- @return table { rps, us, p50, p99 } requests a second, microseconds of CPU a request, of latency
function M.sample(server, load, seconds, connections)
  local pid = M.pid(server)
  local before = M.cpu_seconds(pid)
  local args = wrk_args(server.port, load, seconds, connections)
  local _, out, err, problem = process.run({ args = args }, seconds + 20)
  assert(not problem, problem)
  local result = parse(out .. err)
  if result.failed > 0 then
    error(("%s %s: %d requests failed"):format(server.name, load.path, result.failed), 0)
  end
  result.us = (M.cpu_seconds(pid) - before) * 1e6 / result.requests
  return result
end

--- Lets bench/bare_curl.c ask a server.
--- @param program string
--- @return table { rps, us } requests a second, microseconds of its CPU a request
function M.bare_curl(program, url, seconds)
  local args = { "taskset", "-c", "1", program, url, tostring(seconds), tostring(CONNECTIONS) }
  local _, out, err, problem = process.run({ args = args }, seconds + 20)
  local count, cpu = out:match("(%d+) ([%d.]+)")
  assert(count, problem or err)
  return { rps = count / seconds, us = cpu * 1e6 / count }
end

--- Lets bench/plugins/fetch ask another server.
--- @param client table a server with that plugin
--- @return table { rps, us } requests a second, microseconds of the client's CPU a request
function M.fetching(client, url, seconds)
  local before, began = M.cpu_seconds(client:pid()), socket.gettime()
  local target = "/fetch/load?url=%s&seconds=%d&connections=%d"
  local res = client:get(target:format(url, seconds, CONNECTIONS))
  assert(res.status == 200, res.body)
  local count = res:json().count
  return {
    rps = count / (socket.gettime() - began),
    us = (M.cpu_seconds(client:pid()) - before) * 1e6 / count,
  }
end

--- A crowd of connections (bench/crowd.c), pinned to core 1.
--- @param program string|string[]
--- @param ... string|number its arguments
--- @return fun(): string go lets it do its work, and gives what it printed
function M.crowd(program, ...)
  local log = os.tmpname()
  local args = { "taskset", "-c", "1", unpack(type(program) == "table" and program or { program }) }
  for _, value in ipairs({ ... }) do
    args[#args + 1] = tostring(value)
  end
  local crowd = process.spawn({ args = args, stdout = log, stderr = log })
  local open = process.eventually(function()
    return process.read(log):find("open\n", 1, true) or not crowd:alive()
  end, 60)
  assert(open and crowd:alive(), process.read(log))
  return function()
    crowd:kill("HUP")
    local code, out = crowd:wait(60), process.read(log)
    os.remove(log)
    assert(code == 0, out)
    return out:match("open\n(.*)")
  end
end

--- How long a route takes to answer, asked again and again over one connection.
--- @param server table
--- @param path string
--- @param seconds number
--- @param pause? number seconds between two, 0.001 unless told
--- @return table { worst, p99, count } in milliseconds
function M.probe(server, path, seconds, pause)
  local sock = assert(socket.connect("127.0.0.1", server.port))
  sock:setoption("tcp-nodelay", true)
  sock:settimeout(30)
  local times, over = {}, socket.gettime() + seconds
  local request = ("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"):format(path)
  repeat
    local began = socket.gettime()
    assert(sock:send(request))
    assert(assert(sock:receive("*l")):find(" 200 ", 1, true))
    local length
    repeat
      local line = assert(sock:receive("*l"))
      length = line:lower():match("^content%-length: (%d+)") or length
    until line == ""
    assert(sock:receive(tonumber(length)))
    local now = socket.gettime()
    times[#times + 1] = (now - began) * 1000
    socket.sleep(pause or 0.001)
  until now >= over
  sock:close()
  table.sort(times)
  return { worst = times[#times], p99 = times[math.ceil(#times * 0.99)], count = #times }
end

--- Starts a load that goes on until it is stopped.
--- @param connections? integer
--- @return fun(): table stop gives what parse() does
function M.background(server, load, connections)
  local log = os.tmpname()
  local args = wrk_args(server.port, load, 600, connections)
  local wrk = process.spawn({ args = args, stdout = log, stderr = log })
  return function()
    wrk:kill("INT") -- wrk then prints what it has
    assert(wrk:wait(10) == 0, "wrk did not end")
    local out = process.read(log)
    os.remove(log)
    return parse(out)
  end
end

--- A port that is free now.
function M.free_port()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:close()
  return tonumber(port)
end

--- Asks until the answer is 200, or the child that is to answer has ended.
--- @param child? table of spec.support.process
--- @return number seconds since `since`
function M.first_answer(port, path, since, child)
  local deadline = since + 20
  while socket.gettime() < deadline and (not child or child:alive()) do
    local ok, res = pcall(http.request, port, "GET", path)
    if ok and res.status == 200 then
      return socket.gettime() - since, res
    end
    socket.sleep(0.0005)
  end
  error("no answer from port " .. port, 0)
end

--- @param list number[]
function M.median(list)
  local sorted = { unpack(list) }
  table.sort(sorted)
  local middle = (#sorted + 1) / 2
  return (sorted[math.floor(middle)] + sorted[math.ceil(middle)]) / 2
end

return M
