--- How long others wait while everything that is large, slow or hostile goes on at once.

local measure = require("bench.measure")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local report = require("bench.report")
local servers = require("bench.servers")

local MB = 1024 * 1024
local SECONDS = tonumber(os.getenv("BENCH_SECONDS") or 6)

local M = {}

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

--- Starts a program on core 1, in the background.
local function spawn(...)
  return process.spawn({ args = { "taskset", "-c", "1", ... } })
end

local function wrk(s, path, connections, script)
  local url = ("http://127.0.0.1:%d%s"):format(s.port, path)
  local args = { "wrk", "-t1", "-c" .. connections, "-d600s", "--timeout", "60s" }
  if script then
    args[#args + 1] = "-s"
    args[#args + 1] = script
  end
  args[#args + 1] = url
  return { spawn(unpack(args)) }
end

local function get(path, connections)
  return function(s)
    return wrk(s, "/trouble" .. path, connections)
  end
end

--- A script for wrk that sends a body.
local function post(path, connections, make, content_type)
  return function(s)
    local body = write(os.tmpname(), make())
    local script = write(os.tmpname(), ([[
      local file = io.open(%q, "rb")
      wrk.method, wrk.body = "POST", file:read("*a")
      wrk.headers["Content-Type"] = %q
    ]]):format(body, content_type))
    return wrk(s, "/trouble" .. path, connections, script)
  end
end

local function form()
  local head = '--x\r\nContent-Disposition: form-data; name="f"; filename="../../etc/passwd"\r\n\r\n'
  return head .. ("f"):rep(8 * MB) .. "\r\n--x--\r\n"
end

--- Numbers, text and nesting: 4 MB of it.
local function large_json()
  local item = '{"id":%d,"title":"an item of a long list","tags":["a","b"],"price":12.5,"more":{"ok":true}}'
  local list = {}
  for i = 1, 42000 do
    list[i] = item:format(i)
  end
  return "[" .. table.concat(list, ",") .. "]"
end

local function slow_readers(s)
  local url, list = ("http://127.0.0.1:%d/trouble/stream"):format(s.port), {}
  for i = 1, 20 do
    list[i] = spawn("curl", "-s", "--limit-rate", "20k", "-o", "/dev/null", url)
  end
  return list
end

local function flood(s)
  return { spawn("sh", "-c", ("exec %s sockets %d 100 20000 600"):format(servers.crowd, s.port)) }
end

local ACTS = {
  { "nothing", function() return {} end },
  { "slow SQL", get("/slow-sql", 4) },
  { "SQLite results of 100,000 rows", get("/sqlite", 2) },
  { "PostgreSQL results of 100,000 rows", get("/postgres", 2) },
  { "Redis lists of 100,000 items", get("/redis", 2) },
  { "Redis values of 20 MB", get("/redis-value", 2) },
  { "uploads of 40 MB", post("/upload", 2, function() return ("u"):rep(40 * MB) end, "text/plain") },
  { "forms of 8 MB", post("/form", 2, form, "multipart/form-data; boundary=x") },
  { "JSON of 4 MB, decoded and encoded", post("/json", 2, large_json, "application/json") },
  { "slow readers of fast streams", slow_readers },
  { "20,000 WebSocket messages a second", flood },
}

local function stop(children)
  for _, child in ipairs(children) do
    child:kill("KILL")
    child:wait(5)
  end
end

--- Asks another route every millisecond while the acts go on.
local function probe(s, acts, seconds)
  local go = measure.crowd({ "chrt", "-f", "10", servers.crowd }, "probe", s.port, 1, "/trouble/nothing",
    seconds, s:pid())
  local children = {}
  for _, act in ipairs(acts) do
    for _, child in ipairs(act[2](s)) do
      children[#children + 1] = child
    end
  end
  local ok, out = pcall(go)
  for _, child in ipairs(children) do
    if not child:alive() then
      ok, out = false, "a client ended: " .. child.pid
    end
  end
  stop(children)
  assert(ok, out)
  local p99, worst, most = out:match("%d+ ([%d.]+) ([%d.]+) ([%d.]+)")
  return tonumber(p99), tonumber(worst), tonumber(most)
end

--- What the loop computed before it answered is what counts: the rest is what else the machine did.
local function tell(what, p99, worst, most)
  local title = ("loop busy beside %s (answers: 99 of 100 %.1f, worst %.1f)"):format(what, p99, worst)
  report.target(title, most, "<=", 50, " ms")
end

function M.pause()
  local pg, cache = postgres.start(), redis.start()
  local env = { BENCH_POSTGRES = pg.url, BENCH_REDIS = cache.url }
  env.RUNTIME_LAG_WARN = os.getenv("BENCH_LAG_WARN")
  local s = servers.buntime({ "trouble", "crowd" }, 0, true, 0, env)
  --- Threads that it starts later are as important; where that is not allowed the figures are noisier.
  process.run({ args = { "renice", "-n", "-15", "-p", tostring(s:pid()) } }, 5)
  local ready = s:get("/trouble/nothing")
  assert(ready.status == 200, ready.body .. s:log())
  for _, act in ipairs(ACTS) do
    tell(act[1], probe(s, { act }, SECONDS / 2))
  end
  tell("all of it", probe(s, ACTS, SECONDS))
  if env.RUNTIME_LAG_WARN then
    io.stderr:write(s:log())
  end
  s:discard() -- with what the clients that were cut off left in its log
  cache:stop()
  pg:stop()
end

return M
