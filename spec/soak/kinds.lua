--- The kinds of requests of a soak. Each asks once and returns nil when the answer is right, else what was
--- wrong with it; it raises when there was no whole answer.

local cjson = require("cjson")
local socket = require("socket")

local http = require("spec.support.http")
local plugins = require("spec.soak.plugins")
local websocket = require("spec.support.websocket")

local BIG = 128 * 65536

--- @class soak.Task What one client keeps between its requests.
--- @field port integer
--- @field conn? table kept open
--- @field count integer requests so far
--- @field acknowledged integer writes that were
--- @field version integer the last that was seen of the plugin that changes

local M = {}

local function wrong(res)
  return ("%d %s"):format(res.status, res.body:sub(1, 200))
end

local function expect(res, status, body)
  return (res.status ~= status or res.body ~= body) and wrong(res) or nil
end

--- On the connection that is kept, or a new one.
local function ask(task, method, target, options)
  task.conn = task.conn or http.connect(task.port)
  local res = task.conn:request(method, target, options)
  if (res.headers.connection or ""):lower() == "close" then
    task.conn:close()
    task.conn = nil
  end
  return res
end

--- A connection for one exchange.
local function alone(task, fn)
  local conn = http.connect(task.port)
  local ok, problem = pcall(fn, conn)
  conn:close()
  if not ok then
    error(problem, 0)
  end
  return problem
end

function M.hello(task)
  return expect(ask(task, "GET", "/hello"), 200, "hello")
end

--- Every request on a new connection.
function M.closing(task)
  local headers = { Connection = "close" }
  return expect(http.request(task.port, "GET", "/hello", { headers = headers }), 200, "hello")
end

function M.echo(task)
  local body = ("%d "):format(task.count):rep(task.count * 37 % 4000 + 1)
  return expect(ask(task, "POST", "/echo", { body = body }), 200, body)
end

function M.file(task)
  return expect(ask(task, "GET", "/files/data.bin"), 200, plugins.FILE)
end

--- Newer than before or the same: a request that begins later never gets what is older.
function M.changing(task)
  local res = ask(task, "GET", "/changing")
  local version = res.status == 200 and tonumber(res.body:match("^v(%d+)$"))
  if not version or version < task.version then
    return wrong(res) .. (" after v%d"):format(task.version)
  end
  task.version = version
end

function M.kept(task)
  return expect(ask(task, "GET", "/kept/hello"), 200, '{"message":"kept"}')
end

function M.kept_post(task)
  local res = ask(task, "POST", "/kept/sum", { json = { a = task.count, b = 1 } })
  return expect(res, 200, ('{"sum":%d}'):format(task.count + 1))
end

function M.fresh(task)
  return expect(ask(task, "GET", "/fresh/"), 200, "fresh 1")
end

local function write_row(task, target)
  local res = ask(task, "POST", target, { body = "row " .. task.count })
  if res.status ~= 201 then
    return wrong(res)
  end
  task.acknowledged = task.acknowledged + 1
end

function M.postgres(task)
  return write_row(task, "/postgres")
end

function M.sqlite(task)
  return write_row(task, "/sqlite")
end

function M.redis(task)
  local text = ("%s-%d"):format(task.name, task.count)
  return expect(ask(task, "POST", "/redis", { body = text }), 200, text)
end

--- A body that takes a second to come.
function M.slow_body(task)
  return alone(task, function(conn)
    local body = ("slow body "):rep(20)
    conn:send(http.format("POST", "/echo", { headers = { ["Content-Length"] = tostring(#body) } }, task.port))
    for i = 1, #body, 10 do
      if not conn:send(body:sub(i, i + 9)) then
        break -- the answer tells why
      end
      http.pause(0.05)
    end
    return expect(conn:response("POST"), 200, body)
  end)
end

--- A body that never comes whole: the server must end it.
function M.stalled_body(task)
  return alone(task, function(conn)
    local headers = { ["Content-Length"] = "1000" }
    conn:send(http.format("POST", "/echo", { headers = headers }, task.port) .. "half")
    local answer, closed = conn:read_all(8)
    local status = tonumber(answer:match("^HTTP/1%.1 (%d+)"))
    if not closed or status and status ~= 408 then
      return "not ended: " .. answer:sub(1, 100)
    end
  end)
end

--- 8 MB in pieces of 64 KiB, each after a pause.
function M.slow_reader(task)
  return alone(task, function(conn)
    conn:send(http.format("GET", "/slow/big", { headers = { Connection = "close" } }, task.port))
    local size, tail, head = 0, "", ""
    while true do
      local data, problem, partial = conn.sock:receive(65536)
      data = data or partial
      size, tail = size + #data, (tail .. data):sub(-64)
      head = #head < 16 and head .. data or head
      if problem == "closed" then
        break
      end
      http.pause(0.01)
    end
    local whole = size > BIG and tail:find("abcdef\r\n0\r\n\r\n", 1, true)
    assert(head:find("^HTTP/1%.1 200 ") and whole, ("response: closed after %d bytes"):format(size))
  end)
end

--- A client that does not wait for its answer.
function M.gone(task)
  return alone(task, function(conn)
    conn:send(http.format("GET", "/slow/wait", nil, task.port))
    http.pause(0.02)
  end)
end

function M.events(task)
  return alone(task, function(conn)
    conn:send(http.format("GET", "/slow/events", nil, task.port))
    local bytes, closed, ends = "", false, socket.gettime() + 10
    while not bytes:find("id: 3\n", 1, true) do
      assert(not closed and socket.gettime() < ends, "response: closed after " .. bytes)
      local more
      more, closed = conn:read_all(0.02)
      bytes = bytes .. more
    end
    return not bytes:find("^HTTP/1%.1 200 ") and bytes or nil
  end)
end

function M.websocket(task)
  local client = websocket.open(task.port, "/socket")
  local ok, problem = pcall(function()
    for i = 1, 20 do
      client:text("message " .. i)
      local frame = assert(client:receive(10), "response: closed")
      if frame.data ~= "message " .. i then
        return "another message: " .. tostring(frame.data)
      end
      socket.sleep(0.01)
    end
  end)
  client:close()
  if not ok then
    error(problem, 0)
  end
  return problem
end

--- Whatever comes of it.
function M.broken(task)
  pcall(http.request, task.port, "GET", "/broken")
end

--- What a body of our error shape says.
--- @return string? code
function M.code_of(what)
  local ok, body = pcall(cjson.decode, what:match("^%d+ (.*)$") or "")
  return ok and type(body) == "table" and body.code or nil
end

return M
