--- What happens to the server while its clients ask: one function an event, run one after the other by the
--- director. Each says in `soak.windows` how long what was away, and counts in `soak.done`.

local ffi = require("ffi")
local socket = require("socket")

local http = require("spec.support.http")
local plugins = require("spec.soak.plugins")
local process = require("spec.support.process")
local watch = require("spec.soak.watch")

local KILL = 9

--- Seconds between two ends of the server, so that a client's second try does not meet another.
local APART = 4

local M = {}

local function violation(soak, ...)
  soak.violations[#soak.violations + 1] = string.format(...)
end

local function count(soak, what)
  soak.done[what] = (soak.done[what] or 0) + 1
end

--- Adds a window around what `fn` does.
local function during(soak, what, fn)
  local window = { what = what, from = socket.gettime(), to = math.huge }
  table.insert(soak.windows, window)
  fn()
  window.to = socket.gettime()
end

--- Whether the server may be brought down now.
local function may_kill(soak)
  return soak.kills_allowed and socket.gettime() - (soak.came_back or 0) >= APART
end

--- Brings the server down by `fn` and waits for the next one.
local function bring_down(soak, fn)
  local pid = soak:pid()
  during(soak, "server", function()
    fn(pid)
    soak:wait_other(pid)
  end)
  soak.came_back = socket.gettime()
end

-- Reloads -------------------------------------------------------------------------------------

--- What must come of the reload: the changes of one plugin, the broken one's failure, and nothing else.
local function check_reload(soak, res, name)
  local ok, answer = pcall(res.json, res)
  if not ok or type(answer.plugins) ~= "table" then
    return violation(soak, "reload: %d %s", res.status, res.body:sub(1, 300))
  end
  for _, one in ipairs(answer.plugins) do
    local mine = one.name == name or one.name == "broken"
    if not mine and one.status ~= "unchanged" and one.status ~= "loaded" then
      violation(soak, "a reload of %s made %s %s", name, one.name, one.status)
    end
  end
end

local function reload(soak, name)
  local ok, res = pcall(http.request, soak.server.port, "POST", "/api/plugins/reload?changed=true")
  if not ok then
    return violation(soak, "reload of %s: %s", name, res)
  end
  check_reload(soak, res, name)
end

--- A new version, and sometimes one that cannot be loaded in between.
function M.change(soak)
  if soak.random() < 0.2 then
    soak.server:write("changing/plugin.lua", "return {")
    reload(soak, "changing")
    count(soak, "reloads that fail")
  end
  soak.version = soak.version + 1
  soak.server:write("changing/plugin.lua", plugins.changing(soak.version))
  reload(soak, "changing")
  count(soak, "reloads")
end

local function ask_broken(soak, broken)
  if not broken.kills then
    return pcall(http.request, soak.server.port, "GET", "/broken")
  end
  bring_down(soak, function()
    pcall(http.request, soak.server.port, "GET", "/broken/crash")
  end)
  count(soak, "server crashes")
end

--- A broken plugin is dropped in, asked and taken away.
function M.break_one(soak)
  soak.broken = soak.broken % #plugins.broken + 1
  local broken = plugins.broken[soak.broken]
  if broken.kills and not may_kill(soak) then
    return
  end
  for file, text in pairs(broken.files) do
    soak.server:write("broken/" .. file, text)
  end
  reload(soak, "broken")
  if broken.loads then
    ask_broken(soak, broken)
  end
  soak.server:remove("broken")
  reload(soak, "broken")
  count(soak, "broken plugins")
end

-- Kills ---------------------------------------------------------------------------------------

function M.kill_worker(soak)
  local pids = {}
  for pid, state in pairs(watch.children(soak:pid())) do
    pids[#pids + 1] = state ~= "Z" and pid or nil
  end
  if #pids == 0 then
    return
  end
  table.sort(pids)
  during(soak, "worker", function()
    ffi.C.kill(pids[math.ceil(soak.random() * #pids)], KILL)
  end)
  count(soak, "worker kills")
end

function M.kill_server(soak)
  if not may_kill(soak) then
    return
  end
  bring_down(soak, function(pid)
    ffi.C.kill(pid, KILL)
  end)
  count(soak, "server kills")
end

-- Databases -----------------------------------------------------------------------------------

function M.restart_postgres(soak)
  if not soak.postgres then
    return
  end
  during(soak, "postgres", function()
    if soak.random() < 0.5 then
      soak.postgres:kill()
    else
      soak.postgres:shut_down()
    end
    socket.sleep(0.2)
    soak.postgres:restart()
  end)
  count(soak, "PostgreSQL restarts")
end

function M.restart_redis(soak)
  if not soak.redis then
    return
  end
  during(soak, "redis", function()
    soak.redis:kill()
    socket.sleep(0.2)
    soak.redis:restart()
  end)
  count(soak, "Redis restarts")
end

--- @param soak table
--- @return boolean in_time
function M.settled(soak)
  return process.eventually(function()
    local ok, res = pcall(http.request, soak.server.port, "GET", "/api/metrics")
    local function value(name)
      return ok and tonumber(res.body:match("\n" .. name .. " (%d+)"))
    end
    return value("buntime_http_open_exchanges") == 1 and value("buntime_workers_busy") == 0
  end, 30)
end

return M
