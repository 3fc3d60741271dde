--- Runs a soak: starts what takes part, lets things happen, measures, and judges.

local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local events = require("spec.soak.events")
local http = require("spec.support.http")
local invariants = require("spec.soak.invariants")
local plugins = require("spec.soak.plugins")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local report = require("spec.soak.report")
local server = require("spec.support.server")
local watch = require("spec.soak.watch")

local M = {}
local Soak = {}
Soak.__index = Soak

--- Clients by process, and how many of each kind.
local CLIENTS = {
  { "hello=2", "closing=1", "echo=2", "file=1", "changing=2", "kept=2", "kept_post=1", "fresh=2" },
  { "postgres=3", "redis=2", "sqlite=2", "broken=1" },
  { "slow_body=2", "stalled_body=1", "slow_reader=1", "gone=2", "events=1" },
  { "websocket=1" },
}

--- What happens how often: seconds from one to the next, by and by.
local EVENTS = {
  { "change", 0.8 },
  { "break_one", 3 },
  { "kill_worker", 1.1 },
  { "kill_server", 17 },
  { "restart_postgres", 23 },
  { "restart_redis", 19 },
}

--- The part of the time in which the server may be killed: what is measured at the end is of a process that
--- has lived through the rest.
local KILLS_UNTIL = 0.6

local function run_program(...)
  local code, out, err = process.run({ args = { ... } }, 60)
  assert(code == 0, out .. err)
end

-- Who takes part ------------------------------------------------------------------------------

--- @return integer pid of the server process, which runs below its supervisor
function Soak:pid()
  self.log:read()
  local last = self.log.listening[#self.log.listening]
  return last and last.pid
end

--- Waits until another server process than this one listens.
function Soak:wait_other(pid)
  if not process.eventually(function()
    return self:pid() ~= pid
  end, 30) then
    self.violations[#self.violations + 1] = "the server did not come back"
  end
end

local function environment(soak)
  return {
    RUNTIME_ENV = "test",
    RUNTIME_LOG_LEVEL = "debug",
    RUNTIME_WORKER_DIRS = "apps",
    RUNTIME_WATCHDOG = "1500ms",
    RUNTIME_INIT_TIMEOUT = "4s",
    RUNTIME_DRAIN_TIMEOUT = "5s",
    RUNTIME_CLIENT_TIMEOUT = "3s",
    SOAK_POSTGRES = soak.postgres and soak.postgres.url or false,
    SOAK_REDIS = soak.redis and soak.redis.url or false,
    TMPDIR = soak.dir .. "/tmp",
    --- A sanitizer would make a report of the crash that is wanted; what it keeps aside is no leak.
    ASAN_OPTIONS = (os.getenv("ASAN_OPTIONS") or "") .. ":handle_segv=0:quarantine_size_mb=16:max_redzone=64",
  }
end

local function start(soak)
  soak.dir = process.temp_dir()
  lfs.mkdir(soak.dir .. "/tmp")
  soak.exe = soak.dir .. "/buntime" -- a program of its own, so that its processes can be told from others
  run_program("cp", server.binary(), soak.exe)
  soak.sanitized = process.run({ args = { "grep", "-q", "__asan_init", soak.exe } }) == 0
  if postgres.programs() then
    soak.postgres = postgres.start()
    soak.postgres:psql("create table soak (id bigserial primary key, text text)")
  end
  soak.redis = process.run({ args = { "redis-server", "--version" } }) == 0 and redis.start() or nil
  soak.server = server.start({
    command = { soak.exe, "serve" },
    files = { ["apps/.keep"] = "" },
    env = environment(soak),
  })
  soak.log = watch.log(soak.server.log_path)
end

local function place_plugins(soak)
  local all = plugins.good()
  all.postgres = soak.postgres and all.postgres
  all.redis = soak.redis and all.redis
  for name, files in pairs(all) do
    for file, text in pairs(files or {}) do
      soak.server:write(name .. "/" .. file, text)
    end
  end
  local res = soak.server:reload()
  assert(res.status == 200, res.body)
end

--- @return table clients
local function start_clients(soak, part)
  local clients = { stop = ("%s/stop-%s"):format(soak.dir, part) }
  for i, kinds in ipairs(CLIENTS) do
    local args = { "luajit", "spec/soak/client.lua", tostring(soak.server.port), clients.stop, "" }
    args[5] = ("%s/%s-%d.json"):format(soak.dir, part, i)
    for _, kind in ipairs(kinds) do
      local name = kind:match("^[%w_]+")
      if soak[name] ~= nil or (name ~= "postgres" and name ~= "redis") then
        args[#args + 1] = kind
      end
    end
    local log = ("%s/%s-%d.log"):format(soak.dir, part, i)
    local child = process.spawn({ args = args, stdout = log, stderr = log })
    clients[i] = { out = args[5], log = log, process = child }
  end
  return clients
end

--- Stops the clients and takes what they have counted.
local function stop_clients(soak, clients)
  assert(io.open(clients.stop, "w")):close()
  for _, client in ipairs(clients) do
    local code, problem = client.process:wait(60)
    if code ~= 0 then
      error(("a client ended with %s: %s"):format(code or problem, process.read(client.log)))
    end
    soak.results[#soak.results + 1] = cjson.decode(process.read(client.out))
  end
end

-- What happens --------------------------------------------------------------------------------

local function wait_plain(soak, seconds)
  local clients = start_clients(soak, "before")
  socket.sleep(seconds)
  stop_clients(soak, clients)
end

--- Every event comes for the first time soon, so that a short run has each.
local function plan(soak, seconds)
  local list = {}
  for i, event in ipairs(EVENTS) do
    local every = math.min(event[2], seconds / 3)
    list[i] = { name = event[1], every = every, at = soak.began + every * (0.3 + 0.4 * soak.random()) }
  end
  return list
end

local function next_event(list)
  local first = list[1]
  for _, event in ipairs(list) do
    first = event.at < first.at and event or first
  end
  return first
end

local function let_happen(soak, seconds)
  local clients = start_clients(soak, "main")
  soak.began = socket.gettime()
  local list = plan(soak, seconds)
  local ends = soak.began + seconds
  while socket.gettime() < ends do
    local event = next_event(list)
    socket.sleep(math.max(0, math.min(event.at, ends) - socket.gettime()))
    if socket.gettime() >= ends then
      break
    end
    soak.kills_allowed = socket.gettime() < soak.began + seconds * KILLS_UNTIL
    events[event.name](soak)
    event.at = socket.gettime() + event.every * (0.7 + 0.6 * soak.random())
    soak.log:read()
    soak.highest = math.max(soak.highest, watch.memory(soak:pid()))
  end
  socket.sleep(1)
  stop_clients(soak, clients)
end

--- @class soak.Measure
--- @field memory integer
--- @field descriptors integer
--- @field kinds table<string, integer>
--- @field children integer
--- @field zombies integer
--- @field supervisor integer descriptors of the supervisor

--- What the server holds once it has come to rest.
--- @return soak.Measure
local function measure(soak)
  if not events.settled(soak) then
    soak.violations[#soak.violations + 1] = "the server did not come to rest"
  end
  local pid, before = soak:pid(), nil
  process.eventually(function() -- idle connections and workers go after a second or two
    socket.sleep(1.2)
    local now = watch.descriptors(pid)
    local same = now == before
    before = now
    return same
  end, 15)
  local measured = { memory = watch.memory(pid), children = 0, zombies = 0 }
  measured.descriptors, measured.kinds = watch.descriptors(pid)
  measured.supervisor = watch.descriptors(soak.server.process.pid)
  for _, state in pairs(watch.children(pid)) do
    measured.children = measured.children + 1
    measured.zombies = measured.zombies + (state == "Z" and 1 or 0)
  end
  for _, state in pairs(watch.children(soak.server.process.pid)) do
    measured.zombies = measured.zombies + (state == "Z" and 1 or 0)
  end
  return measured
end

--- Nothing but reloads, many of them: what each leaves behind adds up.
local function reload_often(soak, times)
  for _ = 1, times do
    soak.version = soak.version + 1
    soak.server:write("changing/plugin.lua", plugins.changing(soak.version))
    local res = soak.server:reload("changed=true")
    assert(res.status == 200, res.body)
  end
  return watch.memory(soak:pid())
end

local function count_rows(soak)
  local ok, res = pcall(http.request, soak.server.port, "GET", "/sqlite/count")
  soak.rows = {
    sqlite = ok and res.status == 200 and res:json().count or -1,
    postgres = soak.postgres and tonumber(soak.postgres:psql("select count(*) from soak")),
  }
end

local function remove_plugins(soak)
  for name in pairs(plugins.good()) do
    soak.server:remove(name)
  end
  soak.server:reload()
  process.eventually(function()
    return next(watch.children(soak:pid())) == nil
  end, 10)
end

--- What servers that were killed have left is swept up to twelve seconds after the next one's first worker.
local function wait_swept(soak)
  process.eventually(function()
    local count = -2 -- . and ..
    for _ in lfs.dir(soak.dir .. "/tmp") do
      count = count + 1
    end
    return count <= 1
  end, 15)
end

local function stop(soak)
  soak.server.process:kill("TERM")
  local code, problem = soak.server.process:wait(45)
  soak.exit = code or problem
  socket.sleep(0.2)
  soak.log:read()
  soak.left = watch.processes(soak.exe)
end

-- All of it -----------------------------------------------------------------------------------

local function soak_for(soak, seconds)
  start(soak)
  place_plugins(soak)
  assert(soak.server:get("/fresh/").body == "fresh 1")
  remove_plugins(soak)
  soak.bare = measure(soak)
  place_plugins(soak)
  wait_plain(soak, math.max(2, seconds * 0.12))
  soak.before = measure(soak)
  let_happen(soak, seconds)
  soak.after = measure(soak)
  count_rows(soak)
  local times = seconds < 60 and 20 or 150
  soak.warm = reload_often(soak, times)
  soak.reloaded = reload_often(soak, times)
  soak.reload_times = times
  remove_plugins(soak)
  soak.empty = measure(soak)
  wait_swept(soak)
  stop(soak)
end

local function clean_up(soak, keep)
  if soak.server and not keep then
    soak.server:discard()
  elseif soak.server then
    soak.server.process:kill("KILL")
    io.stderr:write("kept: ", soak.server.log_path, " ", soak.dir, "\n")
  end
  for _, database in ipairs({ soak.postgres, soak.redis }) do
    database:stop()
  end
  if soak.dir and not keep then
    run_program("rm", "-rf", soak.dir)
  end
end

--- @param seconds number Of what happens; with what is before and behind it takes about a third more.
--- @param seed integer
--- @return boolean ok
function M.run(seconds, seed)
  math.randomseed(seed)
  local soak = setmetatable({
    seconds = seconds,
    seed = seed,
    random = math.random,
    windows = {},
    done = {},
    results = {},
    violations = {},
    version = 1,
    broken = 0,
    highest = 0,
  }, Soak)
  local ok, problem = xpcall(soak_for, debug.traceback, soak, seconds)
  if ok then
    invariants.check(soak)
  else
    table.insert(soak.violations, 1, tostring(problem))
  end
  report.print(soak)
  clean_up(soak, #soak.violations > 0)
  return #soak.violations == 0
end

return M
