-- Bodies through worker processes: large ones both ways, streams, events, headers, clients that go or do
-- not read.

local socket = require("socket")

local apps = require("spec.support.apps")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local Router = require("buntime.router")
local log = require("buntime.log")
local routes = Router.new()

local function pattern(n)
  local parts = {}
  for i = 1, math.ceil(n / 8) do
    parts[i] = ("%08d"):format(i)
  end
  return table.concat(parts):sub(1, n)
end

routes:get("/body", function(c) return c:text(pattern(tonumber(c.req:query("n")))) end)
routes:post("/upload", function(c)
  local body = c.req:text()
  return c:json({ size = #body, same = body == pattern(#body) })
end)
routes:get("/stream", function(c)
  return c:stream(function(s)
    local text = pattern(tonumber(c.req:query("n")))
    for at = 1, #text, 10000 do
      s:write(text:sub(at, at + 9999))
    end
  end)
end)
routes:get("/events", function(c)
  return c:sse(function(s)
    for i = 1, 3 do
      s:send({ id = tostring(i), data = "event " .. i })
      buntime.sleep(0.2)
    end
  end)
end)
routes:get("/forever", function(c)
  return c:sse(function(s)
    local ok, why = pcall(function()
      while true do
        s:send({ data = "x" })
        buntime.sleep(0.05)
      end
    end)
    log.info("stream ended: " .. tostring(why))
    error(why, 0)
  end)
end)
routes:get("/endless", function(c)
  return c:stream(function(s)
    local chunk, sent = ("x"):rep(65536), 0
    local ok, why = pcall(function()
      while true do
        s:write(chunk)
        sent = sent + #chunk
      end
    end)
    log.info("endless ended", { sent = sent })
    error(why, 0)
  end)
end)
routes:get("/broken", function(c)
  return c:stream(function(s)
    s:write("half")
    buntime.sleep(0.05)
    error("the stream broke")
  end)
end)
routes:get("/cookies", function(c)
  c:cookie("a", "1")
  c:cookie("b", "2")
  c:header("X-Own", "yes")
  return c:text("cookies", 201)
end)
routes:get("/file", function(c) return c:file("big.txt") end)
routes:get("/none", function(c) return c:body(nil, 204) end)
return routes
]]

local BIG = ("0123456789abcdef"):rep(200000)

local function pattern(n)
  local parts = {}
  for i = 1, math.ceil(n / 8) do
    parts[i] = ("%08d"):format(i)
  end
  return table.concat(parts):sub(1, n)
end

local function start(env)
  local warm, fresh = apps.app("warm", APP, "ttl: 1h\n"), apps.app("fresh", APP)
  warm["big.txt"], fresh["big.txt"] = BIG, BIG
  env = env or {}
  env.RUNTIME_LOG_LEVEL = "debug"
  return server.start({ plugins = { warm = warm, fresh = fresh }, env = env })
end

--- Reads what comes until it holds the text.
local function read_until(conn, text)
  local all = ""
  conn.sock:settimeout(10)
  while not all:find(text, 1, true) do
    all = all .. assert(conn.sock:receive(1))
  end
end

--- Runs fn for an app of either kind.
local function each(s, fn)
  for _, base in ipairs({ "/warm", "/fresh" }) do
    fn(s, base)
  end
end

local function resident(pid)
  local status = process.read(("/proc/%d/status"):format(pid)) or ""
  return tonumber(status:match("VmRSS:%s*(%d+)")) * 1024
end

describe("bodies through workers", function()
  after_each(server.stop_all)

  it("come whole, whatever their size", function()
    local s = start()
    each(s, function(_, base)
      for _, n in ipairs({ 0, 1, 65536, 262144, 262145, 1000000, 8000000 }) do
        local res = s:get(("%s/body?n=%d"):format(base, n))
        assert.equal(200, res.status)
        assert.is_true(res.body == pattern(n), base .. " " .. n)
        assert.equal(tostring(n), res.headers["content-length"])
      end
    end)
    s:stop()
  end)

  it("go to them whole, whatever their size", function()
    local s = start()
    each(s, function(_, base)
      for _, n in ipairs({ 0, 1, 65536, 65537, 300000, 8000000 }) do
        local res = s:post(base .. "/upload", { body = pattern(n) })
        assert.same({ size = n, same = true }, res:json())
      end
    end)
    s:stop()
  end)

  it("several large ones at once keep apart", function()
    local s = start()
    http.parallel(8, function(i)
      local n = 500000 + i * 100001
      if i % 2 == 0 then
        assert.is_true(s:get("/warm/stream?n=" .. n).body == pattern(n))
      else
        assert.same({ size = n, same = true }, s:post("/warm/upload", { body = pattern(n) }):json())
      end
    end)
    s:stop()
  end)

  it("stream, and as events one after the other", function()
    local s = start()
    each(s, function(_, base)
      assert.is_true(s:get(base .. "/stream?n=3000001").body == pattern(3000001))
      local conn = s:connect()
      conn:send(http.format("GET", base .. "/events", {}, s.port))
      read_until(conn, "event 1")
      local first = socket.gettime()
      read_until(conn, "event 3")
      assert.is_true(socket.gettime() - first > 0.25, "they came together")
      conn:close()
    end)
    s:stop()
  end)

  it("are files as well", function()
    local s = start()
    each(s, function(_, base)
      assert.is_true(s:get(base .. "/file").body == BIG)
      local res = s:get(base .. "/file", { headers = { Range = "bytes=16-31" } })
      assert.equal(206, res.status)
      assert.equal("0123456789abcdef", res.body)
    end)
    s:stop()
  end)

  it("have every header, and for HEAD their length", function()
    local s = start()
    each(s, function(_, base)
      local res = s:get(base .. "/cookies")
      assert.equal(201, res.status)
      assert.equal("yes", res.headers["x-own"])
      local raw = s:raw(("GET %s/cookies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(base))
      local count = 0
      for _ in raw:lower():gmatch("\r\nset%-cookie:") do
        count = count + 1
      end
      assert.equal(2, count)
      res = s:request("HEAD", base .. "/body?n=1234")
      assert.equal("1234", res.headers["content-length"])
      assert.equal("", res.body)
      res = s:request("HEAD", base .. "/stream?n=10")
      assert.equal(200, res.status)
      res = s:get(base .. "/none")
      assert.equal(204, res.status)
      assert.equal("", res.body)
    end)
    s:stop()
  end)

  it("that break are cut, so that nobody takes them for whole", function()
    local s = start()
    each(s, function(_, base)
      local raw, closed =
        s:raw(("GET %s/broken HTTP/1.1\r\nHost: x\r\n\r\n"):format(base), 5)
      assert.is_true(closed)
      assert.is_truthy(raw:find("half", 1, true))
      assert.is_nil(raw:find("\r\n0\r\n\r\n", 1, true))
      assert.equal(200, s:get(base .. "/body?n=1").status)
    end)
    s:allow_errors("the stream broke")
    s:stop()
  end)

  it("end when the client goes", function()
    local s = start()
    each(s, function(_, base)
      local before = 0
      for _, line in ipairs(s:log_lines()) do
        before = before + ((line.msg or ""):find("stream ended", 1, true) and 1 or 0)
      end
      local conn = s:connect()
      conn:send(http.format("GET", base .. "/forever", {}, s.port))
      read_until(conn, "data: x")
      conn:close()
      assert.is_truthy(process.eventually(function()
        local count = 0
        for _, line in ipairs(s:log_lines()) do
          count = count + ((line.msg or ""):find("stream ended: the client is gone", 1, true) and 1 or 0)
        end
        return count > before
      end, 10))
      assert.equal(200, s:get(base .. "/body?n=1").status)
    end)
    s:stop()
  end)

  it("that nobody reads wait, and take no memory", function()
    local s = start()
    s:get("/warm/body?n=1")
    local worker = apps.workers(s)[1]
    local conns = {}
    for i = 1, 20 do
      conns[i] = s:connect()
      conns[i]:send(http.format("GET", "/warm/endless", {}, s.port))
    end
    assert.is_truthy(process.eventually(function()
      local of_server, of_worker = s:memory(), resident(worker)
      socket.sleep(0.5)
      return s:memory() - of_server < 1e6 and resident(worker) - of_worker < 1e6
    end, 20))
    assert.equal(200, s:get("/warm/body?n=1").status)
    for _, conn in ipairs(conns) do
      conn:close()
    end
    s:stop()
  end)

  it("leave nothing behind", function()
    local s = start()
    each(s, function(_, base)
      s:get(base .. "/body?n=1")
    end)
    local descriptors = s:descriptors()
    local workers = #apps.workers(s)
    http.parallel(10, function(i)
      for n = 1, 5 do
        local base = (i + n) % 2 == 0 and "/warm" or "/fresh"
        s:get(base .. "/stream?n=300000")
        s:post(base .. "/upload", { body = pattern(100000) })
        local conn = s:connect()
        conn:send(http.format("GET", base .. "/forever", {}, s.port))
        conn:close()
      end
    end)
    assert.is_truthy(process.eventually(function()
      return s:descriptors() <= descriptors + 4 * (#apps.workers(s) - workers) + 1
    end, 20))
    s:stop()
  end)

  it("of events end at a shutdown, and the server stops in time", function()
    local s = start({ RUNTIME_SHUTDOWN_TIMEOUT = "20s" })
    local conns = {}
    each(s, function(_, base)
      local conn = s:connect()
      conn:send(http.format("GET", base .. "/forever", {}, s.port))
      read_until(conn, "data: x")
      conns[#conns + 1] = conn
    end)
    local began = socket.gettime()
    s.process:kill("TERM")
    for _, conn in ipairs(conns) do
      local _, problem = conn.sock:receive("*a")
      assert.is_nil(problem)
    end
    assert.equal(0, (s.process:wait(20)))
    assert.is_true(socket.gettime() - began < 9)
    s:discard()
  end)
end)
