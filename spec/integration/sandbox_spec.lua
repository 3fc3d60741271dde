--- Hostile apps, for real: each tries one thing to get out of its process, take it down, or take more
--- than its share. A well-behaved app beside them is asked all the time and must not notice.

local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local process = require("spec.support.process")
local server = require("spec.support.server")

local PROBE = assert(process.read("spec/fixtures/probe/index.lua"))
local NICE = 'return { fetch = function() return "nice" end }'

local ASKS = [[
ttl: 1h
timeout: 5s
permissions: { read: [../../shared], write: [data], net: ["127.0.0.1:%d"] }
]]

local DENIED, FORBIDDEN = "Permission denied", "Operation not permitted"

local function manifest(name, more)
  return ("name: %s\n%s"):format(name, more or "")
end

--- Its memory has no limits, and it reports what a segmentation fault is.
local SANITIZED = assert(process.read(server.binary())):find("__asan_init", 1, true) ~= nil

local s, steady, target, target_port, other, other_port

--- A listener that an app may or may not reach; connections wait in its backlog.
local function listener()
  local sock = assert(socket.bind("127.0.0.1", 0, 256))
  local _, port = sock:getsockname()
  return sock, tonumber(port)
end

local function at(path)
  return s.dir .. "/" .. path
end

local function text_of(path)
  return process.read(at(path))
end

local function put(path, text)
  local file = assert(io.open(at(path), "wb"))
  file:write(text)
  file:close()
end

local function start_steady()
  local out = at("steady.json")
  steady = process.spawn({
    args = {
      "luajit",
      "spec/support/steady.lua",
      tostring(s.port),
      "/nice/",
      "nice",
      at("stop"),
      "2",
    },
    stdout = out,
    stderr = out,
  })
end

local function stop_steady()
  put("stop", "")
  steady:wait(60)
  return text_of("steady.json")
end

setup(function()
  target, target_port = listener()
  other, other_port = listener()
  s = server.start({
    files = {
      ["apps/nice/index.lua"] = NICE,
      ["apps/nice/manifest.yaml"] = manifest("nice", "ttl: 1h\n"),
      ["apps/probe/index.lua"] = PROBE,
      ["apps/probe/manifest.yaml"] = manifest("probe", "ttl: 1h\ntimeout: 2s\nmemory: 32mb\n"),
      ["apps/once/index.lua"] = PROBE,
      ["apps/once/manifest.yaml"] = manifest("once", "timeout: 2s\nmemory: 32mb\n"),
      ["apps/asks/index.lua"] = PROBE,
      ["apps/asks/manifest.yaml"] = manifest("asks", ASKS:format(target_port)),
      ["apps/greedy/index.lua"] = PROBE,
      ["apps/greedy/manifest.yaml"] = manifest("greedy", "permissions: { read: [../../state] }\n"),
      ["shared/text"] = "shared",
      ["secret"] = "secret",
    },
    env = {
      RUNTIME_WORKER_DIRS = "apps",
      RUNTIME_STATE_DIR = "state",
      RUNTIME_ROOT_KEY = "a-root-key",
      RUNTIME_SANDBOX = "require",
      RUNTIME_LOG_LEVEL = "debug",
      SOME_SECRET = "hidden",
    },
  })
  lfs.mkdir(at("state"))
  put("state/keys", "keys")
  -- what the acts leave in the log is theirs
  s:allow_errors("")
  start_steady()
end)

teardown(function()
  target:close()
  other:close()
  server.stop_all()
end)

local function escaped(value)
  return (tostring(value):gsub("[^%w]", function(c)
    return ("%%%02x"):format(c:byte())
  end))
end

local function act(app, name, q)
  local parts = {}
  for key, value in pairs(q or {}) do
    parts[#parts + 1] = key .. "=" .. escaped(value)
  end
  return s:get(("/%s/%s?%s"):format(app, name, table.concat(parts, "&")))
end

local function answers(want, app, name, q)
  local res = act(app, name, q)
  assert.equal(want, res.status .. " " .. res.body)
end

--- The process is gone or the request failed; the app goes on with the next one.
local function fails(app, name, q, ...)
  local res = act(app, name, q)
  local wanted = {}
  for _, status in ipairs({ ... }) do
    wanted[status] = true
  end
  assert.is_true(wanted[res.status] or false, name .. ": " .. res.status .. " " .. res.body)
  answers("200 ok", app, "tmp")
end

describe("an app's process", function()
  it("reads its own folder and writes its temporary one", function()
    answers("200 ok", "probe", "read", { path = at("apps/probe/index.lua") })
    answers("200 ok", "probe", "tmp")
  end)

  it("reads nothing else", function()
    for _, path in ipairs({
      "/etc/passwd",
      "/etc/shadow",
      at("secret"),
      at("apps/nice/index.lua"),
      at("apps/probe/../nice/index.lua"),
      at("state/keys"),
      at("log"),
      "/proc/self/environ",
      "/proc/1/environ",
    }) do
      answers("200 " .. DENIED, "probe", "read", { path = path })
      answers("200 " .. DENIED, "probe", "link", { path = path })
    end
    for _, file in ipairs({ "environ", "mem", "maps", "fd/0", "root/etc/passwd" }) do
      answers("200 " .. DENIED, "probe", "parent", { file = file })
    end
    answers("200 " .. DENIED, "probe", "parent", { file = "mem", mode = "r+b" })
  end)

  it("writes nothing else", function()
    for _, path in ipairs({
      at("apps/probe/index.lua"),
      at("apps/probe/new.lua"),
      at("apps/nice/index.lua"),
      at("state/new"),
      "/tmp/buntime-probe",
    }) do
      answers("200 " .. DENIED, "probe", "write", { path = path })
    end
    answers("200 " .. FORBIDDEN, "probe", "truncate", { path = at("secret") })
    answers("200 " .. FORBIDDEN, "probe", "chmod", { path = at("secret") })
    answers("200 " .. DENIED, "probe", "remove", { path = at("secret") })
    assert.equal("secret", text_of("secret"))
    assert.equal(NICE, text_of("apps/nice/index.lua"))
  end)

  it("has none of the server's environment", function()
    for _, name in ipairs({ "RUNTIME_ROOT_KEY", "SOME_SECRET", "HOME", "PATH" }) do
      answers("200 nil", "probe", "env", { name = name })
    end
  end)

  it("starts no process", function()
    for _, app in ipairs({ "probe", "asks" }) do
      for _, name in ipairs({ "fork", "vfork", "clone" }) do
        answers("200 " .. FORBIDDEN, app, name)
      end
    end
    answers("200 Function not implemented", "probe", "clone3")
    answers("200 " .. FORBIDDEN, "probe", "exec")
    assert.not_equal("200 0", act("probe", "execute").body)
    assert.not_equal("200 ok", act("probe", "popen").body)
  end)

  it("signals nobody", function()
    answers("200 " .. FORBIDDEN, "probe", "kill")
    answers("200 " .. FORBIDDEN, "probe", "kill", { number = 9 })
    answers("200 " .. FORBIDDEN, "probe", "kill", { pid = 0, number = 0 })
    answers("200 " .. FORBIDDEN, "probe", "kill", { pid = -1, number = 0 })
    answers("200 " .. FORBIDDEN, "probe", "kill", { pid = s.process.pid, number = 0 })
    answers("200 " .. FORBIDDEN, "probe", "owner")
    fails("probe", "ptrace", nil, 502)
  end)

  it("opens no socket", function()
    for _, family in ipairs({ 1, 2, 10, 16, 17 }) do
      answers("200 " .. DENIED, "probe", "socket", { family = family, type = 1 })
      answers("200 " .. DENIED, "probe", "socket", { family = family, type = 2 })
    end
    answers("200 " .. DENIED, "probe", "connect", { host = "127.0.0.1", port = target_port })
    local res = act("probe", "fetch", { url = ("http://127.0.0.1:%d/"):format(s.port) })
    assert.equal(200, res.status)
    assert.matches("FAILED", res.body)
  end)
end)

describe("an app that asked", function()
  it("reads and writes where it asked to", function()
    answers("200 ok", "asks", "read", { path = at("shared/text") })
    answers("200 " .. DENIED, "asks", "write", { path = at("shared/text") })
    answers("200 ok", "asks", "write", { path = at("apps/asks/data/x") })
    answers("200 " .. DENIED, "asks", "write", { path = at("apps/asks/x") })
    answers("200 " .. DENIED, "asks", "read", { path = at("secret") })
  end)

  it("connects to the host and the port of its net, and nowhere else", function()
    answers("200 ok", "asks", "connect", { host = "127.0.0.1", port = target_port })
    answers("200 " .. DENIED, "asks", "connect", { host = "127.0.0.1", port = other_port })
    answers("200 " .. DENIED, "asks", "connect", { host = "127.0.0.2", port = target_port })
    answers("200 " .. DENIED, "asks", "connect", { host = "127.0.0.1", port = s.port })
    answers("200 " .. FORBIDDEN, "asks", "socket", { family = 2, type = 2 })
    answers("200 " .. FORBIDDEN, "asks", "socket", { family = 1, type = 1 })
    for _, host in ipairs({ "127.0.0.1:" .. s.port, "elsewhere.invalid:" .. target_port }) do
      assert.matches("FAILED", act("asks", "fetch", { url = ("http://%s/"):format(host) }).body)
    end
  end)

  it("does not start when it asks for what is the server's", function()
    local res = act("greedy", "tmp")
    assert.is_true(res.status >= 500, res.status)
    assert.is_truthy(s:wait_log("no app's", 5))
  end)
end)

describe("an app that takes too much", function()
  it("gets no more memory than it may have", function()
    if not SANITIZED then
      answers("200 no memory", "probe", "malloc")
      assert.matches("^Cannot allocate memory", act("probe", "map").body)
    end
    answers("200 " .. FORBIDDEN, "probe", "shared_map")
    fails("probe", "tables", nil, 500)
    fails("probe", "text", nil, 500)
  end)

  it("gets no larger files and no more descriptors", function()
    answers("200 File too large", "probe", "file")
    assert.matches("^Too many open files after", act("probe", "descriptors").body)
    answers("200 ok", "probe", "tmp")
  end)

  it("gets no threads; with net, as many as its memory holds", function()
    answers("200 refused after 1", "probe", "threads")
    if SANITIZED then
      return
    end
    local body = act("asks", "threads").body
    assert.is_true(tonumber(body:match("^refused after (%d+)$")) < 100, body)
    fails("asks", "exit", nil, 502)
  end)

  it("ends with its process when it does not end by itself", function()
    for _, name in ipairs({ "loop", "compiled", "find", "pause" }) do
      for _, app in ipairs({ "probe", "once" }) do
        fails(app, name, nil, 503, 504) -- the watchdog in the process, or the server from outside
      end
    end
  end)

  it("answers with no more headers than there may be", function()
    answers("200 many", "probe", "headers", { n = 50 })
    fails("probe", "headers", { n = 10000 }, 500, 502)
  end)

  it("may write a body that never ends, while somebody reads it", function()
    for _ = 1, 3 do
      local conn = s:connect()
      conn:send("GET /probe/endless HTTP/1.1\r\nHost: x\r\n\r\n")
      local head = conn:response("HEAD")
      assert.equal(200, head.status)
      answers("200 ok", "probe", "tmp")
      conn:close()
    end
    answers("200 ok", "probe", "tmp")
  end)
end)

describe("a process that dies", function()
  it("takes its request along and nothing else", function()
    local ends = SANITIZED and { "exit", "shut", "close" } or { "exit", "shut", "close", "segfault", "abort" }
    for _, name in ipairs(ends) do
      for _, app in ipairs({ "probe", "once" }) do
        fails(app, name, nil, 502)
      end
    end
  end)
end)

describe("garbage on the link", function()
  for seed = 1, 12 do
    it("ends the process at most: " .. seed, function()
      local res = act("probe", "garbage", { seed = seed })
      assert.is_true(res.status >= 200 and res.status < 600)
      answers("200 ok", "probe", "tmp")
    end)
  end
end)

describe("ttl 0", function()
  it("leaves nothing for the next request", function()
    for i = 1, 8 do
      answers("200 nilnilnil", "once", "leak", { value = "v" .. i })
    end
  end)

  it("is what makes the difference", function()
    fails("probe", "exit", nil, 502)
    answers("200 nilnilnil", "probe", "leak", { value = "a" })
    answers("200 aaa", "probe", "leak", { value = "b" })
  end)
end)

describe("the server", function()
  it("is the one that was started, and the app beside has noticed nothing", function()
    local text = stop_steady()
    local ok, told = pcall(cjson.decode, text)
    assert.is_true(ok, text)
    assert.equal(0, told.errors, told.first_error)
    assert.is_true(told.requests > 100, text)
    assert.equal(1, s:starts())
    assert.equal(200, s:get("/api/health/ready").status)
    for name in lfs.dir(at("apps/probe")) do
      assert.is_true(name:sub(1, 1) == "." or name == "index.lua" or name == "manifest.yaml", name)
    end
    s:stop()
  end)
end)
