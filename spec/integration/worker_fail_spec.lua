-- Worker processes that fail: errors, time-outs, crashes, full queues; whom it concerns and whom not.

local ffi = require("ffi")
local socket = require("socket")

local apps = require("spec.support.apps")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local app, ended, started = apps.app, apps.ended, apps.started

local HOSTILE = [[
local ffi = require("ffi")
local log = require("buntime.log")
return {
  fetch = function(req)
    local seconds = tonumber(req.query:match("s=([%d.]+)") or 0)
    if req.path == "/sleep" then buntime.sleep(seconds) return { worker = buntime.env.WORKER_ID } end
    if req.path == "/error" then error("it broke") end
    if req.path == "/table" then error({ status = 418, code = "TEAPOT", message = "short and stout" }) end
    if req.path == "/loop" then while true do end end
    if req.path == "/swallow" then while true do pcall(function() while true do end end) end end
    if req.path == "/spin" then
      local start, n = os.time(), 0
      while os.time() - start < seconds do n = n + 1 end
      return { worker = buntime.env.WORKER_ID }
    end
    if req.path == "/find" then return tostring(("a"):rep(64):find(("a*"):rep(30) .. "b")) end
    if req.path == "/crash" then ffi.cast("int *", 0)[0] = 1 end
    if req.path == "/exit" then os.exit(0) end
    if req.path == "/memory" then local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end end
    if req.path == "/huge" then return ("x"):rep(1e9) end
    if req.path == "/headers" then
      local headers = {}
      for i = 1, 10000 do headers["x-" .. i] = "v" end
      return { status = 200, headers = headers, body = "many" }
    end
    if req.path == "/long" then
      return { status = 200, headers = { ["x-long"] = ("v"):rep(70000) }, body = "long" }
    end
    if req.path == "/wait" then
      local ok, why = pcall(buntime.sleep, 60)
      log.info("let go: " .. tostring(why))
      error(why, 0)
    end
    return { worker = buntime.env.WORKER_ID }
  end,
}
]]

local function start(plugins, env)
  env = env or {}
  env.RUNTIME_LOG_LEVEL = "debug"
  env.ASAN_OPTIONS = (os.getenv("ASAN_OPTIONS") or "") .. ":handle_segv=0" -- workers crash here
  return server.start({ plugins = plugins, env = env })
end

--- Sends a request on a connection of its own; the answer is read when it is asked for.
local function send(s, method, target)
  local conn = s:connect()
  conn:send(http.format(method, target, {}, s.port))
  return function()
    local res = conn:response(method)
    conn:close()
    return res
  end
end

local function check_error(res, status, code)
  assert.equal(status, res.status)
  local body = res:json()
  assert.is_false(body.success)
  assert.equal(code, body.code)
  assert.equal(res.headers["x-request-id"], body.requestId)
  return body
end

describe("a worker that fails", function()
  after_each(server.stop_all)

  it("answers errors of its code as a plugin does", function()
    local s = start({ app = app("app", HOSTILE) })
    local body = check_error(s:get("/app/error"), 500, "INTERNAL_SERVER_ERROR")
    assert.matches("plugins/app/index.lua:%d+: it broke", body.message)
    assert.matches("in function 'fetch'", body.traceback)
    local line = s:wait_log("it broke")
    assert.equal("app", line.plugin)
    assert.equal("plugins/app/index.lua", line.file)
    body = check_error(s:get("/app/table"), 418, "TEAPOT")
    assert.equal("short and stout", body.message)
    s:allow_errors("it broke")
    s:stop()
  end)

  it("tells nobody outside in production", function()
    local s = start({ app = app("app", HOSTILE) }, { RUNTIME_ENV = "production" })
    local body = check_error(s:get("/app/error"), 500, "INTERNAL_SERVER_ERROR")
    assert.is_nil(body.message:find("broke", 1, true))
    assert.is_nil(body.traceback)
    s:allow_errors("it broke")
    s:stop()
  end)

  it("cannot be loaded: says why, and is not tried with each request", function()
    local s = start({ app = app("app", "local x = 1\nerror('not today')") })
    for _ = 1, 10 do
      local body = check_error(s:get("/app/x"), 500, "WORKER_LOAD_FAILED")
      assert.matches("plugins/app/index.lua:2: not today", body.message)
    end
    assert.is_true(started(s, "app") <= 2)
    s:write("app/index.lua", "return { fetch = function() return 'mended' end }")
    assert.equal(200, s:reload("changed=true").status)
    assert.equal("mended", s:get("/app/x").body)
    s:allow_errors("not today")
    s:stop()
  end)

  it("is too late: 504, and the process is gone", function()
    local s = start({ app = app("app", HOSTILE, "timeout: 500ms\n") })
    local body = check_error(s:get("/app/sleep?s=60"), 504, "WORKER_TIMEOUT")
    local line = s:wait_log("GET /app/sleep: no answer within 500 ms; the code waits for something")
    assert.same({ "warn", "app", "WORKER_TIMEOUT" }, { line.level, line.plugin, line.code })
    assert.equal(body.requestId, line.requestId)
    assert.is_truthy(ended(s, "app", "timeout"))
    assert.equal(200, s:get("/app/x").status)
    s:stop()
  end)

  it("is too late with one request, and the others in the process end well", function()
    local s = start({ app = app("app", HOSTILE, "ttl: 1h\ntimeout: 2s\n") })
    local worker = s:get("/app/x"):json().worker
    local late = send(s, "GET", "/app/sleep?s=60")
    socket.sleep(1)
    local other = send(s, "GET", "/app/sleep?s=1.6")
    check_error(late(), 504, "WORKER_TIMEOUT")
    local res = other()
    assert.equal(200, res.status)
    assert.equal(worker, res:json().worker)
    assert.is_truthy(ended(s, "app", "timeout"))
    assert.not_equal(worker, s:get("/app/x"):json().worker)
    s:stop()
  end)

  it("computes for too long: the watchdog ends what runs, compiled or not, and nothing else", function()
    local s = start({ app = app("app", HOSTILE, "ttl: 1h\n") }, { RUNTIME_WATCHDOG = "500ms" })
    local worker = s:get("/app/x"):json().worker
    for _, path in ipairs({ "loop", "swallow", "find" }) do
      check_error(s:get("/app/" .. path), 503, "HANDLER_TIMEOUT")
      assert.equal(worker, s:get("/app/x"):json().worker)
    end
    s:allow_errors("longer than 500 ms")
    s:stop()
  end)

  it("stands still: it is killed, and what waited in it is repeated elsewhere", function()
    local s = start({ app = app("app", HOSTILE, "ttl: 1h\ntimeout: 6s\n") }, { RUNTIME_WATCHDOG = "0" })
    local worker = s:get("/app/x"):json().worker
    local get, post = send(s, "GET", "/app/sleep?s=2"), send(s, "POST", "/app/sleep?s=2")
    socket.sleep(0.2)
    local loop = send(s, "GET", "/app/loop")
    local res = get()
    assert.equal(200, res.status)
    assert.not_equal(worker, res:json().worker)
    check_error(post(), 502, "WORKER_CRASHED")
    check_error(loop(), 504, "WORKER_TIMEOUT")
    assert.is_truthy(s:wait_log("GET /app/loop: no answer within 6000 ms; the code computes without a pause"))
    s:stop()
  end)

  it("crashes: 502 for what ran, and what waited in it is repeated elsewhere", function()
    local s = start({ warm = app("warm", HOSTILE, "ttl: 1h\n"), fresh = app("fresh", HOSTILE) })
    check_error(s:get("/fresh/crash"), 502, "WORKER_CRASHED")
    assert.is_truthy(ended(s, "fresh", "crash"))
    local worker = s:get("/warm/x"):json().worker
    local get, post = send(s, "GET", "/warm/sleep?s=1"), send(s, "POST", "/warm/sleep?s=1")
    socket.sleep(0.3)
    check_error(send(s, "GET", "/warm/crash")(), 502, "WORKER_CRASHED")
    check_error(post(), 502, "WORKER_CRASHED")
    local res = get()
    assert.equal(200, res.status)
    assert.not_equal(worker, res:json().worker)
    s:allow_errors("ended unexpectedly")
    s:stop()
  end)

  it("is killed while it starts: another is started, once", function()
    local slow = "local t = os.clock() while os.clock() - t < 0.7 do end "
      .. "return { fetch = function() return 'up' end }"
    local s = start({ app = app("app", slow) })
    local get = send(s, "GET", "/app/x")
    assert.is_truthy(process.eventually(function()
      return #apps.workers(s) == 1
    end))
    ffi.C.kill(apps.workers(s)[1], 9)
    assert.equal("up", get().body)
    assert.is_truthy(ended(s, "app", "crash"))
    assert.equal(2, started(s, "app"))
    s:allow_errors("ended unexpectedly")
    s:stop()
  end)

  it("dies whenever it starts: 502 after the second time", function()
    local crash = "require('ffi').cast('int *', 0)[0] = 1"
    local s = start({ app = app("app", crash) })
    check_error(s:get("/app/x"), 502, "WORKER_CRASHED")
    assert.equal(2, started(s, "app"))
    check_error(s:get("/app/x"), 502, "WORKER_CRASHED")
    assert.equal(2, started(s, "app")) -- not tried with each request
    s:allow_errors("ended unexpectedly")
    s:stop()
  end)

  it("ends only itself by os.exit", function()
    local s = start({ app = app("app", HOSTILE, "ttl: 1h\n") })
    check_error(s:get("/app/exit"), 502, "WORKER_CRASHED")
    assert.equal(200, s:get("/app/x").status)
    assert.equal(1, s:starts())
    s:allow_errors("ended unexpectedly")
    s:stop()
  end)

  it("is out of memory: 500 for that request alone", function()
    local s = start({
      warm = app("warm", HOSTILE, "ttl: 1h\nmemory: 32mb\n"),
      fresh = app("fresh", HOSTILE, "memory: 32mb\n"),
    })
    for _, name in ipairs({ "warm", "fresh" }) do
      local worker = s:get("/" .. name .. "/x"):json().worker
      check_error(s:get("/" .. name .. "/memory"), 500, "OUT_OF_MEMORY")
      check_error(s:get("/" .. name .. "/huge"), 500, "OUT_OF_MEMORY")
      assert.equal(worker, s:get("/" .. name .. "/x"):json().worker)
    end
    s:allow_errors("memory")
    s:stop()
  end)

  it("says too much in its headers", function()
    local s = start({ app = app("app", HOSTILE) })
    check_error(s:get("/app/headers"), 502, "WORKER_BAD_RESPONSE")
    check_error(s:get("/app/long"), 502, "WORKER_BAD_RESPONSE")
    assert.equal(200, s:get("/app/x").status)
    s:allow_errors("headers")
    s:stop()
  end)

  it("learns that its client is gone", function()
    local s = start({ warm = app("warm", HOSTILE, "ttl: 1h\n"), fresh = app("fresh", HOSTILE) })
    for _, name in ipairs({ "warm", "fresh" }) do
      assert.equal(200, s:get("/" .. name .. "/x").status)
      local conn = s:connect()
      conn:send(("GET /%s/wait HTTP/1.1\r\nHost: x\r\n\r\n"):format(name))
      socket.sleep(0.3)
      conn:close()
      assert.is_truthy(s:wait_log(function(line)
        return line.plugin == name and line.msg:find("let go: the client is gone", 1, true)
      end, 10))
      assert.equal(200, s:get("/" .. name .. "/x").status)
    end
    s:stop()
  end)
end)

describe("requests to workers", function()
  after_each(server.stop_all)

  it("wait in a bounded queue", function()
    local s = start(
      { app = app("app", HOSTILE) },
      { RUNTIME_EPHEMERAL_CONCURRENCY = "1", RUNTIME_EPHEMERAL_QUEUE_LIMIT = "2" }
    )
    assert.equal(200, s:get("/app/x").status)
    local statuses = {}
    http.parallel(6, function()
      local res = s:get("/app/sleep?s=0.5")
      statuses[res.status] = (statuses[res.status] or 0) + 1
      if res.status == 503 then
        check_error(res, 503, "WORKER_QUEUE_FULL")
        assert.is_truthy(tonumber(res.headers["retry-after"]))
      end
    end)
    assert.same({ [200] = 3, [503] = 3 }, statuses)
    s:stop()
  end)

  it("get fair turns", function()
    local s = start(
      { one = app("one", HOSTILE), two = app("two", HOSTILE) },
      { RUNTIME_EPHEMERAL_CONCURRENCY = "1" }
    )
    s:get("/one/x")
    s:get("/two/x")
    local order = {}
    http.parallel(21, function(i)
      if i <= 20 then
        assert.equal(200, s:get("/one/sleep?s=0.1").status)
        order[#order + 1] = "one"
        return
      end
      assert.equal(200, s:get("/two/x").status)
      order[#order + 1] = "two"
    end)
    local place
    for i, name in ipairs(order) do
      place = name == "two" and i or place
    end
    assert.is_true(place <= 5, "its turn came after " .. place)
    s:stop()
  end)

  it("go to another process when the first one computes", function()
    local s = start({ app = app("app", HOSTILE, "ttl: 1h\n") })
    local worker = s:get("/app/x"):json().worker
    local cores = tonumber(io.popen("nproc"):read("*l"))
    local began = socket.gettime()
    local spin = send(s, "GET", "/app/spin?s=3")
    socket.sleep(0.2)
    local res = send(s, "POST", "/app/x")()
    assert.equal(200, res.status)
    if cores > 1 then
      assert.not_equal(worker, res:json().worker)
      assert.is_true(socket.gettime() - began < 3)
    end
    assert.equal(worker, spin():json().worker)
    s:stop()
  end)

  it("do not fail because of what the app beside does", function()
    local good = 'return { fetch = function() return "good" end }'
    local s = start({
      bad = app("bad", HOSTILE, "ttl: 1h\ntimeout: 300ms\n"),
      good = app("good", good),
      warm = app("warm", good, "ttl: 1h\n"),
    }, { RUNTIME_WATCHDOG = "200ms" })
    local bad = { "/bad/crash", "/bad/exit", "/bad/loop", "/bad/error", "/bad/sleep?s=60", "/bad/headers" }
    http.parallel(12, function(i)
      for n = 1, 10 do
        if i <= 6 then
          assert.is_true(s:get(bad[(i + n) % #bad + 1]).status >= 500)
        else
          assert.equal("good", s:get(i % 2 == 0 and "/good/x" or "/warm/x").body)
        end
      end
    end)
    s:allow_errors("ended unexpectedly", "it broke", "longer than", "headers")
    s:stop()
  end)
end)
