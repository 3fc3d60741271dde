--- WebSockets, spoken to by a client that is not ours to trust.

local socket = require("socket")

local process = require("spec.support.process")
local server = require("spec.support.server")
local websocket = require("spec.support.websocket")

local TEXT, BINARY, CONTINUATION = websocket.TEXT, websocket.BINARY, websocket.CONTINUATION
local CLOSE, PING, PONG = websocket.CLOSE, websocket.PING, websocket.PONG

local PLUGIN = [[
local Router = require "buntime.router"
return function()
  local routes = Router.new()
  local seen = { open = 0, closed = {} }

  local function closed(ws, code, reason)
    seen.open = seen.open - 1
    seen.closed[#seen.closed + 1] = code .. " " .. reason
  end
  local function opened() seen.open = seen.open + 1 end

  routes:get("/seen", function(c) return c:json(seen) end)
  routes:ws("/echo", {
    open = function(ws, c) opened(); ws.data = c.req:query("name") or "nobody" end,
    message = function(ws, data, binary) ws:send(data, binary) end,
    close = closed,
  })
  routes:ws("/small", { message = function(ws, data) ws:send(#data .. "") end }, { max_message = "1kb" })
  routes:ws("/commands", {
    open = function(ws, c)
      opened()
      if c.req:header("origin") == "http://evil.example" then return ws:close(4003, "not from there") end
      ws:send("hello " .. (c.req:query("name") or "nobody"))
      ws.context = c
    end,
    message = function(ws, data)
      local word, rest = data:match("^(%S+) ?(.*)$")
      if word == "fail" then error("the handler broke")
      elseif word == "close" then ws:close(4001, rest)
      elseif word == "slow" then buntime.sleep(0.05) ws:send("slow " .. rest)
      elseif word == "sleep" then buntime.sleep(tonumber(rest))
      elseif word == "late" then
        ws:send(tostring(select(2, pcall(function() return ws.context.req:header("x-late") end))))
      elseif word == "badtext" then
        ws:send(tostring(select(2, pcall(ws.send, ws, "\255"))))
      elseif word == "badcode" then ws:send(tostring(select(2, pcall(ws.close, ws, 1006))))
      elseif word == "big" then for _ = 1, tonumber(rest) do ws:send(("x"):rep(65536)) end
      elseif word == "sub" then ws:send(tostring(ws:subscribe(rest)))
      elseif word == "unsub" then ws:send(tostring(ws:unsubscribe(rest)))
      elseif word == "pub" then ws:send("to " .. ws:publish(rest, "news of " .. rest))
      else ws:send("fast " .. data) end
    end,
    close = closed,
  })
  routes:ws("/ping", { open = opened, close = closed }, { ping = 0.1 })
  routes:ws("/default")
  local publish
  routes:post("/publish", function(c) return c:json(publish(c.req:query("topic"), c.req:text())) end)

  return {
    routes = routes,
    websocket = {
      open = function(ws) opened() ws:send("default") end,
      drain = function(ws) ws:send("draining") end,
      close = closed,
    },
    onServerStart = function(server) publish = server.publish end,
  }
end
]]

local OTHER = [[
local Router = require "buntime.router"
return function()
  local routes = Router.new()
  routes:ws("/socket", { message = function(ws, data) ws:send("other " .. data) end })
  return { routes = routes }
end
]]

local GATE = [[
return {
  onRequest = function(req)
    if req:query("refuse") then return { status = 403, body = "no" } end
  end,
  onResponse = function(res, app, req)
    res.headers["x-hooked"] = "yes"
    if req:query("late") then res.status = 409 end
  end,
}
]]

local function options(env)
  return {
    plugins = {
      w = { ["manifest.yaml"] = 'name: w\nbase: "/w"\n', ["plugin.lua"] = PLUGIN },
      o = { ["manifest.yaml"] = 'name: o\nbase: "/o"\n', ["plugin.lua"] = OTHER },
      gate = { ["manifest.yaml"] = "name: gate\n", ["plugin.lua"] = GATE },
    },
    copy = { "plugins/chat-websocket" },
    env = env,
  }
end

local function seen(s)
  return s:get("/w/seen"):json()
end

local function wait_closed(s, text)
  local found = process.eventually(function()
    local closed = seen(s).closed
    return closed[#closed] == text
  end)
  assert(found, text .. " is not what " .. s:get("/w/seen").body .. " ends with")
end

describe("a socket", function()
  local s

  setup(function()
    s = server.start(options())
  end)

  teardown(function()
    s:stop()
  end)

  local function open(path, headers)
    return websocket.open(s.port, path, headers)
  end

  it("echoes text and bytes of every length", function()
    local ws = open("/w/echo")
    for _, size in ipairs({ 0, 1, 125, 126, 127, 65535, 65536, 300000 }) do
      for _, opcode in ipairs({ TEXT, BINARY }) do
        local data = ("a"):rep(size)
        ws:send(opcode, data)
        local frame = ws:receive()
        assert.equal(opcode, frame.opcode)
        assert.is_true(frame.data == data)
      end
    end
    ws:send(BINARY, "\0\255\128")
    assert.equal("\0\255\128", ws:receive().data)
    ws:send(TEXT, "κόσμε 𝄞")
    assert.equal("κόσμε 𝄞", ws:receive().data)
    ws:send(CLOSE, "\3\232bye")
    assert.equal(1000, (ws:closed()))
    wait_closed(s, "1000 bye")
    ws:close()
  end)

  it("puts fragments together, with control frames between them", function()
    local ws = open("/w/echo")
    ws:send(TEXT, "one ", { last = false })
    ws:send(PING, "now")
    ws:send(CONTINUATION, "\206", { last = false }) -- half a character
    ws:send(CONTINUATION, "\186 two")
    local pong, echo = ws:receive(), ws:receive()
    assert.same({ PONG, "now" }, { pong.opcode, pong.data })
    assert.same({ TEXT, "one κ two" }, { echo.opcode, echo.data })
    ws:close()
    wait_closed(s, "1006 ")
  end)

  it("takes frames byte by byte", function()
    local ws = open("/w/echo")
    for byte in websocket.frame(TEXT, "slowly"):gmatch(".") do
      ws.conn:send(byte)
      socket.sleep(0.001)
    end
    assert.equal("slowly", ws:receive().data)
    ws:close()
  end)

  local BREACHES = {
    { "a frame that is not masked", { { TEXT, "x", { unmasked = true } } }, 1002 },
    { "a reserved opcode", { { 3, "x" } }, 1002 },
    { "a reserved control opcode", { { 11, "x" } }, 1002 },
    { "a reserved bit", { { TEXT, "x", { rsv = 0x40 } } }, 1002 },
    { "a control frame in fragments", { { PING, "x", { last = false } } }, 1002 },
    { "a control frame that is too long", { { PING, ("x"):rep(126) } }, 1002 },
    { "a continuation of nothing", { { CONTINUATION, "x" } }, 1002 },
    { "a message inside a message", { { TEXT, "x", { last = false } }, { TEXT, "y" } }, 1002 },
    { "text that is no UTF-8", { { TEXT, "a\255" } }, 1007 },
    { "text that ends in half a character", { { TEXT, "\206" } }, 1007 },
    { "a surrogate", { { TEXT, "\237\160\128" } }, 1007 },
    { "bad text in a later fragment", { { TEXT, "x", { last = false } }, { CONTINUATION, "\255" } }, 1007 },
    { "a message that is too long", { { BINARY, ("x"):rep(1024 * 1024 + 1) } }, 1009 },
    { "a close frame of one byte", { { CLOSE, "\3" } }, 1005 },
    { "a close code that does not exist", { { CLOSE, "\3\237" } }, 1002 },
    { "a close reason that is no UTF-8", { { CLOSE, "\3\232\255" } }, 1007 },
  }
  for _, case in ipairs(BREACHES) do
    it("closes on " .. case[1], function()
      local ws = open("/w/echo")
      for _, frame in ipairs(case[2]) do
        ws:send(unpack(frame))
      end
      local code = ws:closed()
      assert.equal(case[3], code)
      ws:close()
    end)
  end

  it("has its own limit", function()
    local ws = open("/w/small")
    ws:send(TEXT, ("x"):rep(1024))
    assert.equal("1024", ws:receive().data)
    ws:send(TEXT, ("x"):rep(600), { last = false })
    ws:send(CONTINUATION, ("x"):rep(600))
    assert.equal(1009, (ws:closed()))
    ws:close()
  end)

  it("is given the request, and may be refused by the plugin", function()
    local ws = open("/w/commands?name=Ada")
    assert.equal("hello Ada", ws:receive().data)
    assert.truthy(ws.head:find("x-hooked: yes", 1, true))
    assert.truthy(ws.head:find("x-request-id: ", 1, true))
    ws:close()
    ws = open("/w/commands", "Origin: http://evil.example\r\n")
    local code, reason = ws:closed()
    assert.same({ 4003, "not from there" }, { code, reason })
    ws:close()
  end)

  it("has no request any more once open is done", function()
    local ws = open("/w/commands", "X-Late: too late\r\n")
    ws:receive()
    ws:text("late")
    assert.truthy(ws:receive().data:find("request is closed", 1, true))
    ws:close()
  end)

  it("is told one message after the other, also when a handler waits", function()
    local ws = open("/w/commands")
    ws:receive()
    for i = 1, 3 do
      ws:text("slow " .. i)
      ws:text("x" .. i)
    end
    for i = 1, 3 do
      assert.equal("slow " .. i, ws:receive().data)
      assert.equal("fast x" .. i, ws:receive().data)
    end
    ws:close()
  end)

  --- The most that the kernel keeps of one connection before anybody has read it.
  local function kernel_holds()
    local most = 0
    for _, name in ipairs({ "tcp_rmem", "tcp_wmem" }) do
      local limits = assert(process.read("/proc/sys/net/ipv4/" .. name))
      most = most + tonumber(limits:match("(%d+)%s*$"))
    end
    return most
  end

  it("is not read while a handler waits", function()
    local ws = open("/w/commands")
    ws:receive()
    ws:text("sleep 2")
    local held = kernel_holds()
    local frame, sent = websocket.frame(BINARY, ("x"):rep(500000)):rep(4), 0
    ws.sock:settimeout(0)
    local deadline = socket.gettime() + 1
    while socket.gettime() < deadline and sent < 2 * held + 60000000 do
      local at = sent % #frame
      local last, _, partial = ws.sock:send(frame, at + 1)
      sent = sent - at + (last or partial or at)
      if not last then
        socket.sleep(0.01)
      end
    end
    assert.is_true(sent < held + 4000000, ("%d bytes were taken, the kernel holds %d"):format(sent, held))
    ws:close()
  end)

  it("closes with 1011 when a handler fails", function()
    s:allow_errors("the handler broke")
    local ws = open("/w/commands")
    ws:receive()
    ws:text("fail")
    assert.equal(1011, (ws:closed()))
    assert.equal("w", s:wait_log("the handler broke").plugin)
    wait_closed(s, "1011 the handler failed")
    ws:close()
  end)

  it("is closed by the plugin, with code and reason", function()
    local ws = open("/w/commands")
    ws:receive()
    ws:text("badtext")
    assert.truthy(ws:receive().data:find("must be valid UTF-8", 1, true))
    ws:text("badcode")
    assert.truthy(ws:receive().data:find("a close code expected", 1, true))
    ws:text("close enough")
    local code, reason = ws:closed()
    assert.same({ 4001, "enough" }, { code, reason })
    wait_closed(s, "4001 enough")
    ws:close()
  end)

  it("is cut when it does not read what it is sent", function()
    local ws = open("/w/commands")
    ws:receive()
    local memory = s:memory()
    ws:text("big 400") -- 25 MB
    wait_closed(s, "1013 ")
    assert.is_true(s:memory() - memory < 64 * 1024 * 1024)
    ws:close()
  end)

  it("is pinged, and cut when it does not answer", function()
    local ws = open("/w/ping")
    for _ = 1, 4 do
      local frame = ws:receive()
      assert.equal(PING, frame.opcode)
      ws:send(PONG, frame.data)
    end
    local began = socket.gettime()
    while ws:receive() do
      assert.is_true(socket.gettime() - began < 5)
    end
    wait_closed(s, "1006 ")
    ws:close()
  end)

  it("subscribes to topics of the whole server", function()
    local a, b, c = open("/w/commands"), open("/w/commands"), open("/w/commands")
    for _, ws in ipairs({ a, b, c }) do
      ws:receive()
    end
    for _, ws in ipairs({ a, b }) do
      ws:text("sub tea")
      assert.equal("true", ws:receive().data)
    end
    a:text("sub tea")
    assert.equal("false", a:receive().data)
    a:text("pub tea")
    assert.equal("to 1", a:receive().data)
    assert.equal("news of tea", b:receive().data)
    assert.equal(2, s:post("/w/publish?topic=tea", { body = "ready" }):json())
    assert.equal("ready", a:receive().data)
    assert.equal("ready", b:receive().data)
    b:text("unsub tea")
    assert.equal("true", b:receive().data)
    a:close()
    assert.is_true(process.eventually(function()
      return s:post("/w/publish?topic=tea", { body = "late" }):json() == 0
    end))
    c:text("x")
    assert.equal("fast x", c:receive().data)
    b:close()
    c:close()
  end)

  it("takes the plugin's handlers when the route has none", function()
    local ws = open("/w/default")
    assert.equal("default", ws:receive().data)
    ws:close()
  end)

  it("is not opened for other requests", function()
    local res = s:get("/w/echo")
    assert.equal(426, res.status)
    assert.equal("13", res.headers["sec-websocket-version"])
    assert.equal("UPGRADE_REQUIRED", res:json().code)
    local function handshake(headers)
      return s:get("/w/echo", { headers = headers }).status
    end
    local key = "dGhlIHNhbXBsZSBub25jZQ=="
    local upgrade = { Connection = "Upgrade", Upgrade = "websocket" }
    local function with(more)
      for name, value in pairs(upgrade) do
        more[name] = value
      end
      return more
    end
    assert.equal(426, handshake(with({ ["Sec-WebSocket-Version"] = "8", ["Sec-WebSocket-Key"] = key })))
    assert.equal(400, handshake(with({ ["Sec-WebSocket-Version"] = "13" })))
    assert.equal(400, handshake(with({ ["Sec-WebSocket-Version"] = "13", ["Sec-WebSocket-Key"] = "short" })))
  end)

  it("is refused by hooks, before and after", function()
    local ok, head = pcall(open, "/w/echo?refuse=1")
    assert.is_false(ok)
    assert.truthy(head:find("HTTP/1.1 403", 1, true))
    ok, head = pcall(open, "/w/echo?late=1")
    assert.is_false(ok)
    assert.truthy(head:find("HTTP/1.1 409", 1, true))
    assert.equal(200, s:get("/w/seen").status)
  end)

  it("stands many that come and go", function()
    local before = s:descriptors()
    for _ = 1, 5 do
      local list = {}
      for i = 1, 40 do
        list[i] = open("/w/echo")
        list[i]:text("x" .. i)
      end
      for i = 1, 40 do
        assert.equal("x" .. i, list[i]:receive().data)
        list[i]:close()
      end
    end
    assert.is_true(process.eventually(function()
      return s:descriptors() <= before + 1
    end))
  end)

  it("chats", function()
    local a, b = open("/chat/socket?name=Ada"), open("/chat/socket?name=Bob")
    assert.truthy(a:receive().data:find("Ada", 1, true))
    assert.truthy(b:receive().data:find("Bob", 1, true))
    assert.truthy(a:receive().data:find("Bob", 1, true))
    b:text("hi")
    assert.truthy(a:receive().data:find('"text":"hi"', 1, true))
    a:close()
    b:close()
  end)
end)

describe("sockets and a reload", function()
  after_each(server.stop_all)

  it("live on when their plugin is unchanged", function()
    server.with(options(), function(s)
      local ws = websocket.open(s.port, "/w/echo")
      s:write("o/plugin.lua", OTHER .. "\n")
      assert.equal(200, s:reload("changed=true").status)
      ws:text("still here")
      assert.equal("still here", ws:receive().data)
      ws:close()
    end)
  end)

  it("are told to drain when it was replaced, and close with 1012 at the end", function()
    server.with(options({ RUNTIME_DRAIN_TIMEOUT = "400ms" }), function(s)
      local ws = websocket.open(s.port, "/w/default")
      assert.equal("default", ws:receive().data)
      assert.equal(200, s:reload().status)
      assert.equal("draining", ws:receive().data)
      assert.equal(1012, (ws:closed()))
      ws:close()
      ws = websocket.open(s.port, "/w/default")
      assert.equal("default", ws:receive().data)
      ws:close()
    end)
  end)

  it("are told that the server goes away", function()
    local s = server.start(options())
    local ws = websocket.open(s.port, "/w/echo")
    s.process:kill("TERM")
    assert.equal(1001, (ws:closed()))
    ws:close()
    assert.equal(0, (s.process:wait(10)))
    s:discard()
  end)

  it("end with the server even when they do not answer", function()
    local s = server.start(options({ RUNTIME_SHUTDOWN_TIMEOUT = "2s" }))
    local list = {}
    for i = 1, 5 do
      list[i] = websocket.open(s.port, "/w/echo")
    end
    s:stop()
    for i = 1, 5 do
      list[i]:close()
    end
  end)
end)
