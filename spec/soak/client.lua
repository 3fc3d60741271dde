--- Clients of a soak, in a process of their own: nothing that the director waits for holds them up.
---
---   luajit spec/soak/client.lua PORT STOPFILE OUTFILE KIND=CLIENTS…
---
--- Until STOPFILE exists. Writes what came of it as JSON: how many requests of each kind, and every failure
--- with its time. A request without an answer is asked once more on a new connection, as a client that
--- knows what it may repeat would.

local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local http = require("spec.support.http")
local kinds = require("spec.soak.kinds")

http.TIMEOUT = 30

local PAUSE, PAUSES = 0.02, { slow_body = 0.2, stalled_body = 1, gone = 0.1, broken = 0.2 }
local FAILURES_MAX = 5000

local port, stop, out = tonumber(arg[1]), arg[2], arg[3]
local counts, failures, acknowledged = {}, {}, {}

--- @return string? what was wrong, boolean? unanswered
local function try(task)
  local ok, problem = pcall(kinds[task.kind], task)
  if ok then
    return problem
  end
  if task.conn then
    task.conn:close()
    task.conn = nil
  end
  return tostring(problem), true
end

local function once(task)
  local began = socket.gettime()
  task.count = task.count + 1
  local problem, unanswered = try(task)
  local count = counts[task.kind]
  count.requests = count.requests + 1
  count.longest = math.max(count.longest, socket.gettime() - began)
  if not problem then
    return
  end
  local failure = { kind = task.kind, began = began, ended = socket.gettime(), what = problem }
  failure.unanswered = unanswered
  if unanswered then
    failure.again = try(task)
    failure.again_ended = socket.gettime()
  end
  count.failures = count.failures + 1
  if #failures < FAILURES_MAX then
    failures[#failures + 1] = failure
  end
end

--- A connection that the server closed meanwhile is no failure of the next request.
local function rest(task)
  http.pause(PAUSES[task.kind] or PAUSE)
  if task.conn and task.conn:closed(0) then
    task.conn:close()
    task.conn = nil
  end
end

local function run(task)
  while not lfs.attributes(stop) do
    once(task)
    rest(task)
  end
  if task.conn then
    task.conn:close()
  end
  acknowledged[task.kind] = (acknowledged[task.kind] or 0) + task.acknowledged
end

local tasks = {}
for i = 4, #arg do
  local kind, clients = arg[i]:match("^([%w_]+)=(%d+)$")
  assert(kinds[kind], "no such kind: " .. arg[i])
  counts[kind] = { requests = 0, failures = 0, longest = 0 }
  for n = 1, tonumber(clients) do
    local task = { kind = kind, name = kind .. n, port = port }
    task.count, task.acknowledged, task.version = 0, 0, 0
    tasks[#tasks + 1] = task
  end
end
http.parallel(#tasks, function(i)
  run(tasks[i])
end)

local file = assert(io.open(out, "w"))
file:write(cjson.encode({ counts = counts, failures = failures, acknowledged = acknowledged }))
assert(file:close())
