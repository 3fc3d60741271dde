--- The servers that are compared, each pinned to core 0 and listening on a free port.

local h2 = require("spec.support.h2")
local measure = require("bench.measure")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")

local PEERS = assert(process.absolute("."), "run this in the repository's root") .. "/build/bench-peers"
local NGINX_ROOT = PEERS .. "/root"

--- The static files of all but buntime, which has them in a plugin.
local FILES = PEERS .. "/files"
local SIZES = { ["1k.bin"] = 1024, ["100k.bin"] = 100 * 1024 }

local M = { bare_curl = PEERS .. "/bare_curl", crowd = PEERS .. "/crowd" }
local started = {}

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- The static files that are asked for, by name.
--- @return table<string, string>
function M.files()
  local files = {}
  for name, size in pairs(SIZES) do
    files[name] = ("0123456789abcdef"):rep(size / 16)
  end
  return files
end

local function must_run(args)
  local code, out, err = process.run({ args = args }, 600)
  if code ~= 0 then
    error(table.concat(args, " ") .. ":\n" .. out .. err, 0)
  end
  return err
end

--- Downloads and builds what is missing.
function M.prepare()
  io.stderr:write(must_run({ "bench/peers/fetch" }))
  must_run({ "mkdir", "-p", FILES })
  for name, content in pairs(M.files()) do
    write_file(FILES .. "/" .. name, content)
  end
  must_run({ "sh", "-c", "gcc -std=gnu11 -D_GNU_SOURCE -DH2O_USE_LIBUV=0 -O2 bench/bare_h2o.c -o "
    .. PEERS .. "/bare_h2o $(pkg-config --libs libh2o-evloop openssl)" })
  must_run({ "gcc", "-std=gnu11", "-O2", "bench/bare_curl.c", "-o", M.bare_curl, "-lcurl" })
  must_run({ "gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "bench/crowd.c", "-o", M.crowd })
end

--- @param tls_port? integer where it speaks HTTP/2
local function start(name, port, args, env, tls_port)
  local log = PEERS .. "/" .. name .. ".log"
  os.remove(log)
  local began = socket.gettime()
  local child = process.spawn({
    args = { "taskset", "-c", "0", unpack(args) },
    env = env,
    stdout = log,
    stderr = log,
  })
  local s = { name = name, port = port, tls_port = tls_port, pid = child.pid, child = child }
  started[#started + 1] = s
  local ok, seconds = pcall(measure.first_answer, port, "/hello/api/greeting", began, child)
  if not ok then
    error(("%s: %s\n%s"):format(name, seconds, process.read(log) or ""), 0)
  end
  s.seconds = seconds
  return s
end

--- A certificate and its key in files.
--- @return table tls { cert, key }
function M.certificate()
  local tls = { cert = PEERS .. "/cert.pem", key = PEERS .. "/key.pem" }
  local cert, key = h2.certificate()
  write_file(tls.cert, cert)
  write_file(tls.key, key)
  return tls
end

-- Each of these takes { cert, key }, or nothing; with it, it speaks HTTP/2 over TLS at tls_port, too.

--- @param tls? table
function M.bare(tls)
  local port, tls_port = measure.free_port(), tls and measure.free_port()
  local args = { PEERS .. "/bare_h2o", tostring(port), FILES }
  if tls then
    args = { args[1], args[2], args[3], tostring(tls_port), tls.cert, tls.key }
  end
  return start("bare h2o", port, args, nil, tls_port)
end

--- A script of bench/peers, beside the packages it needs, run by a program.
--- @param tls? table
local function start_script(name, program, script, tls)
  must_run({ "cp", "bench/peers/" .. script, PEERS .. "/npm/" })
  local port, tls_port = measure.free_port(), tls and measure.free_port()
  local env = { PORT = port, FILES = FILES, NODE_ENV = "production" }
  if tls then
    env.TLS_PORT, env.TLS_CERT, env.TLS_KEY = tls_port, tls.cert, tls.key
  end
  return start(name, port, { program, PEERS .. "/npm/" .. script }, env, tls_port)
end

--- Speaks no HTTP/2.
function M.bun()
  return start_script("Bun + Hono", PEERS .. "/npm/node_modules/@oven/bun-linux-x64/bin/bun", "hono.js")
end

--- @param tls? table
function M.node(tls)
  return start_script("Node + Fastify", "node", "fastify.js", tls)
end

local TLS_LINES = [[
    listen 127.0.0.1:%d ssl http2;
    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_protocols TLSv1.2 TLSv1.3;]]

--- @param tls? table
function M.nginx(tls)
  local port, tls_port = measure.free_port(), tls and measure.free_port()
  local conf = PEERS .. "/nginx.conf"
  local values = {
    ROOT = NGINX_ROOT,
    PORT = tostring(port),
    DIR = PEERS,
    FILES = FILES,
    TLS = tls and TLS_LINES:format(tls_port, tls.cert, tls.key) or "",
  }
  write_file(conf, (process.read("bench/peers/nginx.conf.in"):gsub("@(%u+)@", values)))
  local args = { NGINX_ROOT .. "/usr/sbin/nginx", "-c", conf, "-e", PEERS .. "/nginx.log" }
  local libraries = NGINX_ROOT .. "/usr/lib/x86_64-linux-gnu:" .. NGINX_ROOT .. "/lib/x86_64-linux-gnu"
  return start("nginx + Lua", port, args, { LD_LIBRARY_PATH = libraries }, tls_port)
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

--- A plugin that is nothing but files, at /pages.
local function pages_plugin()
  local plugin = M.files()
  plugin["manifest.yaml"] = 'name: "@bench/pages"\nbase: "/pages"\nentrypoint: "index.html"\n'
  plugin["index.html"] = "<!doctype html><title>files</title>"
  return plugin
end

--- @param plugins string[] of bench/plugins; "pages" is the plugin of the static files
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
  for _, name in ipairs(plugins) do
    if name == "pages" then
      options.plugins.pages = pages_plugin()
    else
      options.copy[#options.copy + 1] = "bench/plugins/" .. name
    end
  end
  for i = 1, small or 0 do
    options.plugins["small-" .. i] = small_plugin(i)
  end
  local s = server.start(options)
  s.name = "buntime"
  return s
end

--- Over TLS alone, at port and tls_port.
--- @param tls table
function M.buntime_tls(tls)
  local s = M.buntime({ "hello" }, 0, true, 0, { TLS_CERT = tls.cert, TLS_KEY = tls.key })
  s.tls_port = s.port
  return s
end

--- Ends a server that this file has started.
--- @param s table
function M.stop(s)
  if s.stop then
    return s:stop()
  end
  s.child:kill("TERM")
  if not s.child:wait(5) then
    s.child:kill("KILL")
    s.child:wait(5)
  end
end

function M.stop_all()
  for _, s in ipairs(started) do
    M.stop(s)
  end
  started = {}
  server.stop_all()
end

return M
