--- The servers that are compared, each pinned to core 0 and listening on a free port.

local measure = require("bench.measure")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")

local PEERS = assert(process.absolute("."), "run this in the repository's root") .. "/build/bench-peers"
local NGINX_ROOT = PEERS .. "/root"

local M = { bare_curl = PEERS .. "/bare_curl", crowd = PEERS .. "/crowd" }
local started = {}

local function must_run(args)
  local code, out, err = process.run({ args = args }, 600)
  if code ~= 0 then
    error(table.concat(args, " ") .. ":\n" .. out .. err, 0)
  end
end

--- Downloads and builds what is missing.
function M.prepare()
  must_run({ "bench/peers/fetch" })
  must_run({ "sh", "-c", "gcc -std=gnu11 -D_GNU_SOURCE -DH2O_USE_LIBUV=0 -O2 bench/bare_h2o.c -o "
    .. PEERS .. "/bare_h2o $(pkg-config --libs libh2o-evloop openssl)" })
  must_run({ "gcc", "-std=gnu11", "-O2", "bench/bare_curl.c", "-o", M.bare_curl, "-lcurl" })
  must_run({ "gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "bench/crowd.c", "-o", M.crowd })
end

local function start(name, port, args, env)
  local log = PEERS .. "/" .. name .. ".log"
  os.remove(log)
  local child = process.spawn({
    args = { "taskset", "-c", "0", unpack(args) },
    env = env,
    stdout = log,
    stderr = log,
  })
  started[#started + 1] = child
  local ok, problem = pcall(measure.first_answer, port, "/hello/api/greeting", socket.gettime())
  if not ok then
    error(("%s: %s\n%s"):format(name, problem, process.read(log) or ""), 0)
  end
  return { name = name, port = port, pid = child.pid }
end

function M.bare()
  local port = measure.free_port()
  return start("bare h2o", port, { PEERS .. "/bare_h2o", tostring(port) })
end

function M.bun()
  local port = measure.free_port()
  os.execute(("cp bench/peers/hono.js '%s/npm/'"):format(PEERS)) -- so that it finds its packages
  local bun = PEERS .. "/npm/node_modules/@oven/bun-linux-x64/bin/bun"
  return start("Bun + Hono", port, { bun, PEERS .. "/npm/hono.js" }, {
    PORT = port,
    NODE_ENV = "production",
  })
end

function M.nginx()
  local port = measure.free_port()
  local conf = PEERS .. "/nginx.conf"
  local text = process.read("bench/peers/nginx.conf.in")
  local values = { ROOT = NGINX_ROOT, PORT = tostring(port), DIR = PEERS }
  local file = assert(io.open(conf, "wb"))
  file:write((text:gsub("@(%u+)@", values)))
  file:close()
  local args = { NGINX_ROOT .. "/usr/sbin/nginx", "-c", conf, "-e", PEERS .. "/nginx.log" }
  return start("nginx + Lua", port, args, {
    LD_LIBRARY_PATH = NGINX_ROOT .. "/usr/lib/x86_64-linux-gnu:" .. NGINX_ROOT .. "/lib/x86_64-linux-gnu",
  })
end

--- Files of a plugin that does next to nothing.
local function small_plugin(i)
  return {
    ["manifest.yaml"] = ('name: "@bench/small-%d"\nbase: "/small-%d"\n'):format(i, i),
    ["plugin.lua"] = [[
local Router = require("buntime.router")
return function()
  local routes = Router.new()
  routes:get("/", function(c)
    return c:text("small")
  end)
  return { routes = routes }
end
]],
  }
end

--- @param plugins string[] of bench/plugins
--- @param small? integer that many small plugins more
--- @param wait? boolean false: do not wait until it listens
--- @param core? integer 0 unless told
--- @param env? table<string, string>
function M.buntime(plugins, small, wait, core, env)
  local options = { copy = {}, plugins = {}, env = env or {} }
  options.command = { "taskset", "-c", tostring(core or 0), server.binary(), "serve" }
  options.env.RUNTIME_ENV = "production"
  options.env.RUNTIME_LOG_LEVEL = "warn"
  options.port = measure.free_port()
  options.wait = wait
  for i, name in ipairs(plugins) do
    options.copy[i] = "bench/plugins/" .. name
  end
  for i = 1, small or 0 do
    options.plugins["small-" .. i] = small_plugin(i)
  end
  local s = server.start(options)
  s.name = "buntime"
  return s
end

function M.stop_all()
  for _, child in ipairs(started) do
    child:kill("TERM")
    if not child:wait(5) then
      child:kill("KILL")
      child:wait(5)
    end
  end
  server.stop_all()
end

return M
