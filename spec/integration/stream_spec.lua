--- Streams over a socket: back pressure, ends of every kind, reloads.

local socket = require("socket")

local process = require("spec.support.process")
local server = require("spec.support.server")

local PLUGIN = [[
local Router = require "buntime.router"
local task = require "buntime.task"

return function()
  local routes = Router.new()
  local seen = { written = 0, cleaned = 0, open = 0 }

  routes:get("/seen", function(c) return c:json(seen) end)

  routes:get("/words", function(c)
    local query = c.req:query("last")
    return c:stream(function(s)
      s:write("one ")
      buntime.sleep(0.01)
      s:write("two ")
      s:write(query or c.req:header("x-last") or "three")
    end)
  end)

  routes:get("/type", function(c)
    c:header("X-Own", "yes")
    return c:stream(function(s) s:write("a,b") end, "text/csv", 201, { ["X-More"] = "too" })
  end)

  routes:get("/empty", function(c) return c:stream(function() end) end)

  routes:get("/broken", function(c)
    return c:stream(function(s)
      s:write("half")
      buntime.sleep(0.01)
      error("the stream broke")
    end)
  end)

  routes:get("/endless", function(c)
    return c:stream(function(s)
      seen.open = seen.open + 1
      local chunk = ("x"):rep(64 * 1024)
      local ok, why = pcall(function()
        while true do
          s:write(chunk)
          seen.written = seen.written + #chunk
        end
      end)
      seen.why, seen.closed = why, s.closed
      seen.open = seen.open - 1
      seen.cleaned = seen.cleaned + 1
      error(why, 0)
    end)
  end)

  routes:get("/idle", function(c)
    return c:stream(function(s)
      seen.open = seen.open + 1
      s:write("here")
      local ok, why = pcall(buntime.sleep, 60)
      seen.open = seen.open - 1
      seen.cleaned, seen.why = seen.cleaned + 1, why
    end)
  end)

  routes:get("/big", function(c)
    local size = tonumber(c.req:query("bytes"))
    return c:stream(function(s)
      for i = 1, size / 1000 do s:write(("%09d\n"):format(i):rep(100)) end
    end, "application/octet-stream")
  end)

  routes:get("/several", function(c)
    return c:stream(function(s)
      local tasks = {}
      for i = 1, 20 do
        tasks[i] = task.spawn(function() s:write(("%02d "):format(i)) end)
      end
      task.gather(unpack(tasks))
    end)
  end)

  return { routes = routes }
end
]]

local HOOK = [[
return {
  onResponse = function(res, app, req)
    res.headers["x-hooked"] = "yes"
    if req.path == "/s/words" and req:query("slow") then buntime.sleep(0.05) end
    if req:query("status") then res.status = tonumber(req:query("status")) end
  end,
}
]]

local PLUGINS = {
  s = { ["manifest.yaml"] = 'name: s\nbase: "/s"\n', ["plugin.lua"] = PLUGIN },
  hook = { ["manifest.yaml"] = "name: hook\n", ["plugin.lua"] = HOOK },
}

local function options(env)
  return { plugins = PLUGINS, env = env }
end

local function seen(s)
  return s:get("/s/seen"):json()
end

describe("streams", function()
  local s

  setup(function()
    s = server.start(options())
  end)

  teardown(function()
    s:stop()
  end)

  it("arrive whole, with what the request said", function()
    local res = s:get("/s/words")
    assert.equal(200, res.status)
    assert.equal("one two three", res.body)
    assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
    assert.equal("chunked", res.headers["transfer-encoding"])
    assert.equal("one two four", s:get("/s/words?last=four").body)
    assert.equal("one two five", s:get("/s/words", { headers = { ["X-Last"] = "five" } }).body)
    assert.equal("", s:get("/s/empty").body)
  end)

  it("have status, headers and a request id like any response", function()
    local res = s:get("/s/type", { headers = { ["X-Request-Id"] = "stream-1" } })
    assert.equal(201, res.status)
    assert.equal("text/csv", res.headers["content-type"])
    assert.equal("yes", res.headers["x-own"])
    assert.equal("too", res.headers["x-more"])
    assert.equal("stream-1", res.headers["x-request-id"])
  end)

  it("pass onResponse before their head is sent, also when the hook waits", function()
    local res = s:get("/s/words?slow=1&status=203")
    assert.equal(203, res.status)
    assert.equal("yes", res.headers["x-hooked"])
    assert.equal("one two three", res.body)
  end)

  it("send no body for HEAD, nor for 204, and do not run then", function()
    local before = seen(s)
    local res = s:head("/s/endless")
    assert.equal(200, res.status)
    assert.equal("", res.body)
    assert.equal(204, s:get("/s/endless?status=204").status)
    assert.same(before, seen(s))
  end)

  it("leave the connection open for the next request", function()
    local conn = s:connect()
    for _ = 1, 3 do
      assert.equal("one two three", conn:request("GET", "/s/words").body)
      assert.equal("yes", conn:request("GET", "/s/words").headers["x-hooked"])
    end
    conn:close()
  end)

  it("end with the connection for an HTTP/1.0 client", function()
    local answer, closed = s:raw("GET /s/words HTTP/1.0\r\n\r\n")
    assert.is_true(closed)
    assert.truthy(answer:find("\r\n\r\none two three$"))
    assert.is_nil(answer:lower():find("transfer-encoding", 1, true))
  end)

  it("are cut when the function raises, so that nobody takes them for whole", function()
    s:allow_errors("the stream broke")
    local answer, closed = s:raw("GET /s/broken HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.is_true(closed)
    assert.truthy(answer:find("\r\n4\r\nhalf\r\n$"))
    assert.is_nil(answer:find("\r\n0\r\n", 1, true))
    local line = s:wait_log("the stream broke")
    assert.equal("s", line.plugin)
    assert.truthy(line.requestId)
    assert.equal(200, s:get("/s/words").status)
  end)

  it("reset an HTTP/1.0 connection when the function raises", function()
    s:allow_errors("the stream broke")
    local code, out, err = process.run({
      args = { "curl", "-s", "-S", "-0", ("http://127.0.0.1:%d/s/broken"):format(s.port) },
    }, 10)
    assert.equal(56, code, out .. err) -- "failure in receiving network data"
    assert.truthy(err:find("reset", 1, true))
  end)

  it("are written by several tasks in the order of their calls", function()
    local expected = {}
    for i = 1, 20 do
      expected[i] = ("%02d "):format(i)
    end
    assert.equal(table.concat(expected), s:get("/s/several").body)
  end)

  it("carry much to a client that reads", function()
    local body = s:get("/s/big?bytes=20000000").body
    assert.equal(20000000, #body)
    assert.equal("000020000\n", body:sub(-10))
  end)

  it("wait for a slow reader in little memory, and end when it goes", function()
    local memory, before = s:memory(), seen(s)
    local conn = s:connect()
    conn.sock:setoption("tcp-nodelay", true)
    conn:send("GET /s/endless HTTP/1.1\r\nHost: x\r\n\r\n")
    local last = -1
    assert.is_true(process.eventually(function()
      local now = seen(s).written
      local still = now == last and now > 0
      last = now
      socket.sleep(0.05)
      return still
    end))
    assert.equal(before.open + 1, seen(s).open)
    assert.is_true(s:memory() - memory < 32 * 1024 * 1024)
    conn:close()
    assert.is_true(process.eventually(function()
      return seen(s).cleaned == before.cleaned + 1
    end))
    local after = seen(s)
    assert.equal("the client is gone", after.why)
    assert.is_true(after.closed)
    assert.equal(before.open, after.open)
  end)

  it("end when the client goes while the function waits for something else", function()
    local before = seen(s)
    local conn = s:connect()
    conn:send("GET /s/idle HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.is_true(process.eventually(function()
      return seen(s).open == before.open + 1
    end))
    conn:close()
    assert.is_true(process.eventually(function()
      return seen(s).cleaned == before.cleaned + 1
    end))
    assert.equal("the client is gone", seen(s).why)
  end)
end)

describe("a reload", function()
  after_each(server.stop_all)

  it("lets streams of unchanged plugins go on and frees what it replaced", function()
    server.with(options(), function(s)
      local conn = s:connect()
      conn:send("GET /s/idle HTTP/1.1\r\nHost: x\r\n\r\n")
      assert.is_true(process.eventually(function()
        return seen(s).open == 1
      end))
      s:write("hook/plugin.lua", "return { onShutdown = function() "
        .. 'require("buntime.log").info("hook is gone") end }')
      assert.equal(200, s:reload("changed=true").status)
      s:write("hook/plugin.lua", "return {}")
      assert.equal(200, s:reload("changed=true").status)
      assert.truthy(s:wait_log("hook is gone", 3))
      assert.equal(1, seen(s).open)
      conn:close()
    end)
  end)

  it("cuts streams of a replaced plugin when its time is over", function()
    server.with(options({ RUNTIME_DRAIN_TIMEOUT = "300ms" }), function(s)
      local conn = s:connect()
      conn:send("GET /s/idle HTTP/1.1\r\nHost: x\r\n\r\n")
      assert.is_true(process.eventually(function()
        return seen(s).open == 1
      end))
      assert.equal(200, s:reload().status)
      assert.equal(0, seen(s).open)
      local answer, closed = conn:read_all(5)
      assert.is_true(closed)
      assert.truthy(answer:find("here", 1, true))
      assert.is_nil(answer:find("\r\n0\r\n", 1, true))
      conn:close()
    end)
  end)

  it("lets them end by themselves before that", function()
    server.with(options(), function(s)
      local conn = s:connect()
      conn:send("GET /s/big?bytes=30000000 HTTP/1.1\r\nHost: x\r\n\r\n")
      socket.sleep(0.05)
      assert.equal(200, s:reload().status)
      local answer = conn:read_all(1)
      assert.truthy(answer:find("000030000\n\r\n0\r\n\r\n", 1, true))
      conn:close()
    end)
  end)
end)
