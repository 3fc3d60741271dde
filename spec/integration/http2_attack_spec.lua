-- What attackers do over HTTP/2 and TLS: each is cut, costs bounded memory, and a normal client beside
-- it is served on.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local h2 = require("spec.support.h2")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local T = h2.type
local CALM = 11

-- A sanitizer keeps what was freed for a while.
local MARGIN = (os.getenv("BUNTIME_BIN") or ""):find("asan") and 400 or 60

local plugin = {
  ["manifest.yaml"] = 'name: two\nbase: "/two"\n',
  ["plugin.lua"] = [[
local Router = require("buntime.router")
local buntime = require("buntime")
local runs = 0
return function()
  local routes = Router.new()
  routes:get("/", function(c) return c:text("hello") end)
  routes:get("/run", function(c) runs = runs + 1 buntime.sleep(1) return c:text("run") end)
  routes:get("/runs", function(c) return c:text(tostring(runs)) end)
  routes:get("/big", function(c) return c:text(("x"):rep(1024 * 1024)) end)
  routes:get("/events", function(c)
    return c:stream(function(stream)
      for _ = 1, 1000 do stream:write(("x"):rep(65536)) end
    end)
  end)
  routes:post("/length", function(c) return c:text(tostring(#c.req:text())) end)
  return { routes = routes }
end
]],
}

local function start(env)
  local options = h2.options({ env = env })
  options.plugins = { two = plugin, good = fixtures.hello("good", "good") }
  return server.start(options)
end

--- A normal client, on a connection that it keeps and one that it opens.
local function normal_client(s)
  local kept = h2.connect(s.port)
  return {
    ask = function()
      local began = socket.gettime()
      assert.equal("good", assert(kept:response(kept:request("GET", "/good"))).body)
      assert.equal("good", h2.get(s.port, "/good").body)
      assert.is_true(socket.gettime() - began < 5)
    end,
    close = function()
      kept:close()
    end,
  }
end

--- Sends `chunk(i)` for i = 1, 2 … until the server has enough.
--- @return integer? rounds after which it was cut
local function flood(s, c, rounds, chunk)
  local normal, before = normal_client(s), s:memory()
  local cut
  for i = 1, rounds do
    if not c:send(chunk(i), 5) then
      cut = i
      break
    elseif i % 5 == 0 then
      normal.ask()
    end
  end
  assert.is_true(s:memory() - before < MARGIN * 1024 * 1024, "memory grew by " .. s:memory() - before)
  normal.ask()
  normal.close()
  return cut
end

--- An attack of frames that must be cut; says how many frames went through at most.
local function is_cut(s, per_round, rounds, chunk, options)
  local c = h2.connect(s.port, options)
  local cut = flood(s, c, rounds, chunk)
  local closed, code = c:ended(5)
  c:close()
  assert.is_true(cut ~= nil or closed, ("not cut after %d"):format(per_round * rounds))
  assert.is_true(code == nil or code == CALM, code)
end

describe("an attacker over HTTP/2", function()
  local s

  setup(function()
    s = start()
  end)

  teardown(function()
    s:stop()
  end)

  it("is cut who opens and resets streams", function()
    local block = h2.head("GET", "/two/run")
    local before = tonumber(h2.get(s.port, "/two/runs").body)
    is_cut(s, 200, 50, function(round)
      local out = {}
      for i = 1, 200 do
        local id = 2 * ((round - 1) * 200 + i) - 1
        out[i] = h2.frame(T.HEADERS, h2.END_HEADERS + h2.END_STREAM, id, block)
          .. h2.frame(T.RST_STREAM, 0, id, h2.u32(8))
      end
      return table.concat(out)
    end)
    assert.is_true(tonumber(h2.get(s.port, "/two/runs").body) - before < 500)
  end)

  it("is cut who makes the server reset streams", function()
    local block = h2.head("GET", "/two/run")
    is_cut(s, 200, 50, function(round)
      local out = {}
      for i = 1, 200 do
        local id = 2 * ((round - 1) * 200 + i) - 1
        out[i] = h2.frame(T.HEADERS, h2.END_HEADERS + h2.END_STREAM, id, block)
          .. h2.frame(T.WINDOW_UPDATE, 0, id, h2.u32(0))
      end
      return table.concat(out)
    end)
  end)

  it("is cut who opens more streams than there may be, without an end", function()
    local block = h2.head("POST", "/two/length")
    is_cut(s, 200, 50, function(round)
      local out = {}
      for i = 1, 200 do
        out[i] = h2.frame(T.HEADERS, h2.END_HEADERS, 2 * ((round - 1) * 200 + i) - 1, block)
      end
      return table.concat(out)
    end)
  end)

  local frames = {
    ["SETTINGS"] = h2.frame(T.SETTINGS, 0, 0, "\0\4\0\1\0\0"),
    ["empty SETTINGS"] = h2.frame(T.SETTINGS, 0, 0),
    ["PING"] = h2.frame(T.PING, 0, 0, "12345678"),
    ["PRIORITY"] = h2.frame(T.PRIORITY, 0, 9, "\0\0\0\0\16"),
    ["WINDOW_UPDATE"] = h2.frame(T.WINDOW_UPDATE, 0, 0, h2.u32(1)),
    ["unknown frames"] = h2.frame(0x77, 0, 0, "x"),
    ["GOAWAY"] = h2.frame(T.GOAWAY, 0, 0, h2.u32(0) .. h2.u32(0)),
  }
  for name, frame in pairs(frames) do
    it("is cut who floods with " .. name, function()
      local chunk = frame:rep(1000)
      is_cut(s, 1000, 100, function()
        return chunk
      end)
    end)
  end

  it("is cut who floods with empty DATA", function()
    local chunk = h2.frame(T.DATA, 0, 1):rep(1000)
    is_cut(s, 1000, 100, function(round)
      local head = h2.frame(T.HEADERS, h2.END_HEADERS, 1, h2.head("POST", "/two/length"))
      return (round == 1 and head or "") .. chunk
    end)
  end)

  it("is cut who never ends a header block", function()
    for _, piece in ipairs({ "", "\0\1a\1b", ("\0\1a\127\129\127" .. ("x"):rep(16383)):sub(1, 16384) }) do
      local chunk = h2.frame(T.CONTINUATION, 0, 1, piece):rep(100)
      is_cut(s, 100, 20, function(round)
        return (round == 1 and h2.frame(T.HEADERS, h2.END_STREAM, 1, h2.head("GET", "/two")) or "") .. chunk
      end)
    end
  end)

  it("is cut who sends a header bomb, or gets 431", function()
    local before = s:memory()
    local c = h2.connect(s.port)
    -- one field of 4000 bytes in the table, then references to it
    c:frame(T.HEADERS, h2.END_HEADERS + h2.END_STREAM, 1,
      h2.head("GET", "/two") .. h2.field("x", ("y"):rep(4000), true))
    assert.equal(200, c:response(1).status)
    for i = 1, 20 do
      local id = 2 * i + 1
      c:frame(T.HEADERS, h2.END_HEADERS + h2.END_STREAM, id, h2.head("GET", "/two") .. ("\190"):rep(90))
      assert.equal(431, assert(c:response(id)).status)
    end
    c:frame(T.HEADERS, h2.END_HEADERS + h2.END_STREAM, 99, h2.head("GET", "/two") .. ("\190"):rep(16000))
    local closed, code = c:ended(5)
    assert.is_true(closed)
    assert.is_true(code == nil or code == CALM)
    c:close()
    assert.is_true(s:memory() - before < MARGIN * 1024 * 1024)
  end)

  it("does not have its answers kept without bound", function()
    local chunk = h2.frame(T.SETTINGS, 0, 0, "\0\4\0\0\0\0") -- no window at all
    local c = h2.connect(s.port)
    c:send(chunk)
    local normal, before = normal_client(s), s:memory()
    for _ = 1, 150 do
      c:request("GET", "/two/events")
    end
    normal.ask()
    assert.is_true(s:memory() - before < (MARGIN + 100) * 1024 * 1024, s:memory() - before)
    normal.close()
    c:close()
  end)
end)

describe("a slow attacker", function()
  after_each(server.stop_all)

  local function seconds(fn)
    local began = socket.gettime()
    fn()
    return socket.gettime() - began
  end

  it("has a time for its handshake", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "1s" })
    local silent, slow = http.connect(s.port), http.connect(s.port)
    slow:send("\22\3\1\2\0\1\0") -- the start of a ClientHello
    local passed = seconds(function()
      for _ = 1, 100 do
        if not slow:send("\0") then
          break
        end
        if slow:closed(0.1) then
          break
        end
      end
      assert.is_true(slow.eof)
      assert.is_true(silent:closed(5))
    end)
    assert.is_true(passed < 8, passed)
    assert.equal("good", h2.get(s.port, "/good").body)
    s:stop()
  end)

  it("has a time for the preface, a head, a frame, and to do something at all", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "1s" })
    local head = h2.frame(T.HEADERS, h2.END_STREAM, 1, h2.head("GET", "/two"))
    local cases = {
      { "", silent = true },
      { h2.PREFACE:sub(1, 10), silent = true },
      { "" },
      { head },
      { head:sub(1, 5) },
      { head:sub(1, 20) },
    }
    for _, case in ipairs(cases) do
      local c = h2.connect(s.port, case)
      if not case.silent then -- an acknowledgement of settings must not come in between
        c:read()
        c:read()
      end
      c:send(case[1])
      local passed = seconds(function()
        assert.is_true((c:ended(8)))
      end)
      assert.is_true(passed > 0.5 and passed < 8, passed)
      c:close()
    end
    s:stop()
  end)

  it("is cut even if it sends a byte now and then", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "1s" })
    local c = h2.connect(s.port)
    local head = h2.head("GET", "/two", { { "x", ("y"):rep(200) } })
    c:send(h2.frame(T.HEADERS, h2.END_STREAM, 1, head):sub(1, 30))
    local passed = seconds(function()
      for _ = 1, 100 do
        if not c:send("y") or c:ended(0.1) then
          return
        end
      end
      error("was not cut")
    end)
    assert.is_true(passed < 8, passed)
    s:stop()
  end)

  it("is told 408 when its body comes too slowly, and its connection stays", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "1s" })
    local c = h2.connect(s.port)
    local id = c:request("POST", "/two/length", { { "content-length", "100000" } }, false)
    local res
    for _ = 1, 100 do
      c:data(id, "x")
      res = c:response(id, 0.1)
      if res then
        break
      end
    end
    assert.equal(408, assert(res).status)
    assert.equal("hello", assert(c:response(c:request("GET", "/two"))).body)
    c:close()
    s:stop()
  end)

  it("has a body that comes fast enough taken", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "1s" })
    local c = h2.connect(s.port)
    local id = c:request("POST", "/two/length", nil, false)
    for _ = 1, 15 do
      c:data(id, ("x"):rep(4096))
      socket.sleep(0.2)
    end
    c:data(id, "", true)
    assert.equal("61440", assert(c:response(id)).body)
    c:close()
    s:stop()
  end)

  it("is cut when it does not take its answers", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "1s" })
    local c = h2.connect(s.port, { settings = "\0\4\0\0\0\0" }) -- no window
    local id = c:request("GET", "/two/big")
    local open
    for _ = 1, 80 do -- pings keep the connection itself in use
      c:frame(T.PING, 0, 0, "12345678")
      open = c:response(id, 0.1)
      if open then
        break
      end
    end
    assert.equal(8, assert(open, "the stream was not given up").reset)
    assert.equal(200, h2.get(s.port, "/two/big").status)
    c:close()
    s:stop()
  end)

  it("may hold many connections that do nothing", function()
    local s = start({ RUNTIME_CLIENT_TIMEOUT = "3s" })
    h2.get(s.port, "/good")
    local before, idle = s:memory(), {}
    for i = 1, 150 do
      idle[i] = h2.connect(s.port)
    end
    local normal = normal_client(s)
    normal.ask()
    assert.is_true(s:memory() - before < 150 * (MARGIN > 100 and 1024 or 200) * 1024, s:memory() - before)
    normal.close()
    assert.is_truthy(process.eventually(function()
      return s:descriptors() < 100
    end, 20))
    for _, c in ipairs(idle) do
      c:close()
    end
    s:stop()
  end)
end)
