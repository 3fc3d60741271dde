--- Server-sent events over a socket, with the plugin that ships as an example.

local socket = require("socket")

local process = require("spec.support.process")
local server = require("spec.support.server")

local PLUGIN = [[
local Router = require "buntime.router"
return function()
  local routes = Router.new()
  local clients, count = {}, 0
  routes:get("/events", function(c)
    return c:sse(function(s)
      s:send({ data = "hello\nyou", id = 1, event = "hi", retry = 100 })
      s:comment("last " .. tostring(s.last_event_id))
      clients[s], count = true, count + 1
      pcall(buntime.sleep, 100)
      clients[s], count = nil, count - 1
    end, { heartbeat = 0.05 })
  end)
  routes:get("/count", function(c) return c:json(count) end)
  routes:post("/tell", function(c)
    local sent = 0
    for s in pairs(clients) do
      if s:send(c.req:text()) then sent = sent + 1 end
    end
    return c:json(sent)
  end)
  return { routes = routes }
end
]]

local function listen(s, headers)
  local conn = s:connect()
  conn:send("GET /e/events HTTP/1.1\r\nHost: x\r\n" .. (headers or "") .. "\r\n")
  return conn
end

--- Reads until the plain text `what` has come `times` times; heartbeats never let it fall silent.
local function read_until(conn, what, times)
  local text, deadline = "", socket.gettime() + 5
  conn.sock:settimeout(0.1)
  while select(2, text:gsub(what:gsub("%p", "%%%0"), "")) < (times or 1) do
    local data, problem, partial = conn.sock:receive(4096)
    text = text .. (data or partial)
    assert(problem ~= "closed" and socket.gettime() < deadline, text)
  end
  return text
end

local function wait_count(s, count)
  assert.is_true(process.eventually(function()
    return tonumber(s:get("/e/count").body) == count
  end))
end

describe("server-sent events", function()
  local s

  setup(function()
    s = server.start({
      plugins = { e = { ["manifest.yaml"] = 'name: e\nbase: "/e"\n', ["plugin.lua"] = PLUGIN } },
      copy = { "plugins/clock-sse" },
      env = { RUNTIME_DRAIN_TIMEOUT = "300ms" },
    })
  end)

  teardown(function()
    s:stop()
  end)

  it("have the fields, the last id, and a beat while nothing happens", function()
    local conn = listen(s, "Last-Event-ID: 77\r\n")
    local answer = read_until(conn, "\r\n:\n\n\r\n", 2)
    assert.truthy(answer:find("content-type: text/event-stream\r\n", 1, true))
    assert.truthy(answer:find("cache-control: no-cache\r\n", 1, true))
    assert.truthy(answer:find("event: hi\nid: 1\nretry: 100\ndata: hello\ndata: you\n\n", 1, true))
    assert.truthy(answer:find(": last 77\n\n", 1, true))
    conn:close()
    wait_count(s, 0)
  end)

  it("reach every client, and those that are gone do no harm", function()
    local conns = {}
    for i = 1, 30 do
      conns[i] = listen(s)
    end
    wait_count(s, 30)
    for i = 1, 10 do
      conns[i]:close()
    end
    local sent = s:post("/e/tell", { body = "news" }):json()
    assert.is_true(sent >= 20 and sent <= 30)
    for i = 11, 30 do
      read_until(conns[i], "data: news\n\n")
    end
    wait_count(s, 20)
    for i = 11, 30 do
      conns[i]:close()
    end
    wait_count(s, 0)
  end)

  it("come from the clock", function()
    local conn = s:connect()
    conn:send("GET /clock/events HTTP/1.1\r\nHost: x\r\n\r\n")
    read_until(conn, "event: tick\nid: ", 2)
    conn:close()
  end)

  it("end in good order when the server stops", function()
    local other = server.start({
      plugins = { e = { ["manifest.yaml"] = 'name: e\nbase: "/e"\n', ["plugin.lua"] = PLUGIN } },
    })
    local conn = listen(other)
    wait_count(other, 1)
    other.process:kill("TERM")
    local answer, closed = conn:read_all(5)
    assert.is_true(closed)
    assert.truthy(answer:find("\r\n0\r\n\r\n$"))
    conn:close()
    assert.equal(0, (other.process:wait(5)))
    other:discard()
  end)
end)
