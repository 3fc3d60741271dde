--- Those that bench/table compares: how each is started, what a start costs, which versions they are.

local measure = require("bench.measure")
local process = require("spec.support.process")
local server = require("spec.support.server")
local servers = require("bench.servers")

local PEERS = "build/bench-peers/"

local M = {}

local function start_buntime()
  local s = servers.buntime({ "hello", "pages" }, 0, false)
  s.seconds = measure.first_answer(s.port, "/hello/api/greeting", s.began, s.process)
  return s
end

--- What a command prints on its first line that fits.
local function printed(command, pattern)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text:match(pattern) or "?"
end

local function npm_version(package)
  local text = process.read(PEERS .. "npm/node_modules/" .. package .. "/package.json") or ""
  return text:match('"version":%s*"([^"]+)"') or "?"
end

local KNOWN = {
  {
    title = "buntime",
    start = start_buntime,
    secure = servers.buntime_tls,
    version = function()
      return "buntime " .. printed(server.binary() .. " --version", "buntime ([%d.]+)")
    end,
  },
  {
    title = "bare h2o",
    start = servers.bare,
    secure = servers.bare,
    version = function()
      return "libh2o " .. printed("dpkg-query -W libh2o-evloop-dev", "[%d.]+%d")
    end,
  },
  {
    title = "nginx + Lua",
    start = servers.nginx,
    secure = servers.nginx,
    version = function()
      local nginx = printed(PEERS .. "root/usr/sbin/nginx -v", "nginx/([%d.]+)")
      local module = printed("ls " .. PEERS .. "debs", "libnginx%-mod%-http%-lua_1%%3a([%d.]+%d)")
      return ("nginx %s, its Lua module %s"):format(nginx, module)
    end,
  },
  {
    title = "Bun + Hono",
    start = servers.bun,
    version = function()
      return ("Bun %s, Hono %s"):format(npm_version("bun"), npm_version("hono"))
    end,
  },
  {
    title = "Node + Fastify",
    start = servers.node,
    secure = servers.node,
    version = function()
      return ("Node %s, Fastify %s"):format(printed("node --version", "v([%d.]+)"), npm_version("fastify"))
    end,
  },
}

--- Starts one some times; the last one stays.
--- @return table { title, version, secure?, server, start, idle } milliseconds, MiB
local function start(known, times)
  local list, s = {}, nil
  for i = 1, times do
    if s then
      servers.stop(s)
    end
    s = known.start()
    list[i] = s.seconds * 1000
  end
  return {
    title = known.title,
    version = known.version(),
    secure = known.secure,
    server = s,
    start = measure.median(list),
    idle = measure.resident(s) / 2 ^ 20,
  }
end

--- @param times integer starts of each
--- @return table[] contestants, string[] left_out titles of those that do not start
function M.start(times)
  local contestants, left_out = {}, {}
  for _, known in ipairs(KNOWN) do
    local ok, result = pcall(start, known, times)
    if ok then
      contestants[#contestants + 1] = result
    elseif known.title == "buntime" then
      error(result, 0)
    else
      left_out[#left_out + 1] = known.title
      io.stderr:write(known.title, " is left out: ", result, "\n")
    end
  end
  return contestants, left_out
end

--- The machine, the load tools and when it was, as text.
function M.machine()
  return ("%s; %s, %s cores, Linux %s; wrk %s, h2load %s; load average %s before it began"):format(
    os.date("!%Y-%m-%d %H:%M UTC"),
    process.read("/proc/cpuinfo"):match("model name%s*:%s*([^\n]+)"),
    printed("nproc --all", "%d+"),
    printed("uname -r", "%S+"),
    printed("wrk -v", "%d+%.%d+%.%d+"),
    printed("h2load --version", "%d+%.%d+%.%d+"),
    process.read("/proc/loadavg"):match("^%S+")
  )
end

return M
